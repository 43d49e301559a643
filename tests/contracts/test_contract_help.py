"""The help of every command: names, options, defaults, texts."""

from __future__ import annotations

import re

import pytest
from golden_files import check

from archon.cli import main


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")


def help_of(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """The help of a command and of those below it, by the words that call it."""
    assert main([*path, "--help"]) == 0
    text = capsys.readouterr().out
    found = {" ".join(("archon", *path)): text}
    listed = text.partition("\nCommands:\n")[2].partition("\nExamples:\n")[0]
    for name in re.findall(r"^  (\S+)", listed, re.MULTILINE):
        found |= help_of((*path, name), capsys)
    return found


def test_help_of_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    found = help_of((), capsys)
    assert len(found) > 25
    whole = "\n".join(f"$ {name} --help\n{text}" for name, text in found.items())
    shared = re.search(r"  --json  .*?(?=\n  -h, )", found["archon schema"], re.DOTALL)
    assert shared is not None
    assert whole.count(shared[0]) > 20
    check("help.txt", f"{shared[0]}\n\n{whole.replace(shared[0], '  (options of all commands)')}")
