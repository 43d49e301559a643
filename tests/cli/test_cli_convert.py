"""``archon convert``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from archon.cli import main

DRAFT = {"type": "generator", "model": "small", "model_type": "vLLM", "temperature": 0.7}
FUSER = {**DRAFT, "type": "fuser", "max_tokens": 64, "use_critiques": True, "tpo_k": 1}
LAYERED = {"name": "old", "layers": [[{**DRAFT, "samples": 3}], [FUSER]]}


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "old.json"
    path.write_text(json.dumps(LAYERED))
    return path


def test_the_output_validates_and_runs(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "old.json", "--output", "new.json"]) == 0
    assert main(["validate", "new.json"]) == 0
    capsys.readouterr()
    assert main(["run", "new.json", "What is 2 + 3?", "--model", "small=scripted"]) == 0
    assert capsys.readouterr().out.strip()


def test_losses_are_reported_on_standard_error(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", "old.json"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "architecture: old.archon.json (2 nodes, 1 models)\n"
    assert "'tpo_k': unknown key; did you mean 'top_k'?" in captured.err
    assert "$.layers[1][0].use_critiques" in captured.err
    assert "[critic_before_reader]" in captured.err
    assert Path("old.archon.json").exists()


def test_json_lists_losses(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "old.json", "--output", "new.json", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["output"] == "new.json"
    assert [loss["key"] for loss in result["not_carried"]] == ["tpo_k", "use_critiques"]
    assert all(loss["path"] and loss["reason"] for loss in result["not_carried"])
    assert [warning["rule"] for warning in result["warnings"]] == ["critic_before_reader"]


@pytest.mark.parametrize(
    "content",
    ["", "not json", "{'layers': []}", "[]", "{}", '{"layers": []}', '{"layers": 3}', '{"a": NaN}'],
)
def test_a_file_that_is_not_json_or_has_no_layers_is_refused(
    old: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    old.write_text(content)
    assert main(["convert", "old.json", "--output", "new.json"]) == 2
    assert "old.json" in capsys.readouterr().err
    assert not Path("new.json").exists()


def test_a_missing_file_is_refused(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "nowhere.json"]) == 2
    assert "no such file" in capsys.readouterr().err


def test_the_input_is_never_overwritten(old: Path) -> None:
    assert main(["convert", "old.json", "--output", "old.json"]) == 2
    assert json.loads(old.read_text()) == LAYERED


def test_a_missing_output_folder_is_reported(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "old.json", "--output", "nowhere/new.json"]) == 1
    assert "cannot write" in capsys.readouterr().err


def test_the_report_on_a_huge_file_is_short(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strange: dict[str, Any] = {**DRAFT, **{f"key{i}": i for i in range(500)}}
    data = {"layers": [[strange], *([[{**FUSER, "x": 1}] * 20] * 20)]}
    old.write_text(json.dumps(data))
    assert main(["convert", "old.json"]) == 0
    assert len(capsys.readouterr().err.splitlines()) < 250


def test_a_file_beyond_the_limit_is_refused(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old.write_text(json.dumps({**LAYERED, "note": "x" * 5_000_000}))
    assert main(["convert", "old.json"]) == 2
    assert "larger than" in capsys.readouterr().err
