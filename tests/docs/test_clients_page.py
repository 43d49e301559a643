"""``docs/guides/clients.md`` shows the configuration that scripts/clients.py checks."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guides/clients.md").read_text()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("clients", ROOT / "scripts/clients.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["clients"] = module
    spec.loader.exec_module(module)
    return module


def test_every_client_is_in_the_table_with_its_configuration(script: ModuleType) -> None:
    for client in script.CLIENTS:
        assert f"\n| {client.name} | " in PAGE
        assert client.configuration() in PAGE


def test_every_program_belongs_to_a_client(script: ModuleType) -> None:
    programs = {path.name for path in script.CHECKS.iterdir() if path.suffix != ".txt"}
    assert programs == {client.check for client in script.CLIENTS}


def test_a_program_prints_every_part_of_its_client(script: ModuleType) -> None:
    for client in script.CLIENTS:
        text = (script.CHECKS / client.check).read_text()
        assert all(f"done: {part}" in text for part in client.parts), client.name


def test_a_program_runs_against_a_server_of_this_machine(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check of a client that is installed here: a failing part is reported."""
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    (home / "bin/python").symlink_to(sys.executable)
    monkeypatch.setattr(script, "CHECKS", tmp_path)
    (tmp_path / "check.py").write_text(
        "# begin configuration\nURL = 'http://127.0.0.1:8000/v1'\n# end configuration\n"
        "print('done: ' + URL)\nraise SystemExit('broken')"
    )
    client = script.Client("a", ("a",), "check.py", ("http://127.0.0.1:1/v1", "more"))
    parts, output = script.check(client, home, "127.0.0.1:1")
    assert parts == ["http://127.0.0.1:1/v1"]
    assert "broken" in output
