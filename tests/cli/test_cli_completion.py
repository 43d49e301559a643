"""Completion of names in shells."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cli_runner import Cli

from archon.cli import main
from archon.cli.completers import SCORER_NAMES
from archon.evals.scorers import SCORERS
from archon.spec import catalog


def completed(
    line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Return what the script for bash gets for a line with the cursor at its end."""
    for name, value in (("_ARCHON_COMPLETE", "bash_complete"), ("COMP_LINE", line)):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COMP_POINT", str(len(line.encode())))
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main([])
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("archon ru", ["run"]),
        ("archon models p", ["pull"]),
        ("archon run self-c", ["self-consistency"]),
        ("archon show sma", ["small"]),
        ("archon serve smoll", ["smollm2-135m"]),
        ("archon eval single gsm8k-", ["gsm8k-platinum"]),
        ("archon eval single gsm8k --sp", ["--split"]),
        ("archon eval single gsm8k --scorer number-e", ["number-exact"]),
        ("archon eval single gsm8k --log-level de", ["debug"]),
        ("archon run self-consistency -m solver=smoll", ["smollm2-135m"]),
        ("archon run self-consistency --model=solver=smoll", ["smollm2-135m"]),
        ("archon run self-consistency -m sol", ["solver="]),
        ("archon run self-consistency --set dr", ["draft."]),
        ("archon eval self-consistency gsm8k --set draft.st", ["draft.stop_when."]),
        ("archon run self-consistency --set draft.sampling.temp", ["draft.sampling.temperature="]),
        ("archon run self-consistency --set nodes.draft.sample", ["nodes.draft.samples="]),
        ("archon run best-of-n --set best.method=like", ["likelihood"]),
        ("archon run best-of-n --set models.ju", ["models.judge="]),
        ("archon run best-of-n --set budget.max_s", ["budget.max_seconds="]),
        ("archon ls archi", ["architectures"]),
        ("archon completion z", ["zsh"]),
    ],
)  # fmt: skip
def test_words(
    line: str,
    expected: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert completed(line, capsys, monkeypatch) == [f"plain,{each}" for each in expected]


def test_roles_of_the_architecture_and_models(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = completed("archon eval best-of-n gsm8k -m ", capsys, monkeypatch)
    names = ["solver=", "judge=", *catalog.names("model")]
    assert found == [f"plain,{name}" for name in names]


def test_files_and_folders(
    cli: Cli, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for line, kind in (
        ("archon validate ", "file"),
        ("archon run ./my", "file"),
        ("archon eval single gsm8k --data ", "file"),
        ("archon eval single gsm8k --output ", "dir"),
        ("archon export ", "dir"),
    ):
        [found] = completed(line, capsys, monkeypatch)
        assert found.startswith(f"{kind},"), line


def test_runs(
    cli: Cli, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("runs/first").mkdir(parents=True)
    Path("runs/first/run.json").write_text("{}")
    Path("runs/other").mkdir()
    assert completed("archon resume ru", capsys, monkeypatch) == ["plain,runs/first"]


def test_names_of_scorers_are_those_of_the_registry() -> None:
    assert sorted(SCORER_NAMES) == sorted(SCORERS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(cli: Cli, shell: str) -> None:
    assert cli("completion", shell) == 0
    assert f"_ARCHON_COMPLETE={shell}_complete" in cli.stdout
    program = shutil.which(shell)
    if program is not None:  # the shell accepts the script
        done = subprocess.run([program, "-n"], input=cli.stdout, text=True, capture_output=True)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_itself(cli: Cli, tmp_path: Path) -> None:
    assert cli("completion", "bash") == 0
    program = tmp_path / "archon"
    program.write_text("#!/bin/sh\necho plain,one\necho plain,two=\necho file,\n")
    program.chmod(0o755)
    script = cli.stdout + (
        "compopt() { echo compopt $*; }\nCOMP_LINE='archon x'\nCOMP_POINT=8\n"
        "_archon_completion archon\necho ${COMPREPLY[@]}\n"
    )
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, "PATH": path}, text=True, capture_output=True
    )
    lines = ["compopt -o nospace", "compopt -o default", "one two="]
    assert done.stdout.splitlines() == lines, done.stderr
