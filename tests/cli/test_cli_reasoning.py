"""Reports of commands on reasoning models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import pytest

from archon.cli import main
from archon.lm import lazy
from archon.lm.scripted import lm as scripted
from archon.lm.scripted.lm import ScriptedLM
from archon.spec.model import ScriptedCard
from archon.types import Request

CUT_OFF = "<think>\nThe answer is 7"
SPLIT = "<think>\nThe answer is 7? No.\n</think>\n\nThe answer is 5."
ROWS = [{"question": f"What is 2 + 3, for the {n}th time?", "answer": "5"} for n in range(40)]


def script(request: Request, draw: int) -> str:
    """Cut off the reasoning of every fourth completion."""
    return SPLIT if draw % 4 else CUT_OFF


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder where the model ``scripted`` reasons."""

    def open_scripted(card: ScriptedCard, base_dir: Path | None = None) -> ScriptedLM:
        return ScriptedLM(script, identity="reasons")

    monkeypatch.setattr(scripted, "open_scripted", open_scripted)
    monkeypatch.setattr(lazy, "_SHARED", WeakValueDictionary())  # none is open yet
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    capsys.readouterr()
    assert main(arguments) == 0
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_run_prints_the_answer_and_counts_what_was_cut_off(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = run(
        capsys, "run", "self-consistency", "2 + 3?", "--model", "solver=scripted", "--trace"
    )
    assert out == "The answer is 5.\n"
    assert "2 of 8 completions ended within their reasoning" in err
    assert "The answer is 7? No." in err  # the trace has all of it
    assert "the reasoning was cut off" in err
    out, _ = run(
        capsys,
        "run",
        "self-consistency",
        "2 + 3?",
        "--model",
        "solver=scripted",
        "--json",
        "--trace",
    )
    data = json.loads(out)
    assert (data["value"], data["num_reasoning_cut_off"]) == ("5", 2)
    [call] = data["trace"]["nodes"][0]["calls"]
    assert [c["reasoning"] + c["text"] for c in call["completions"]] == [CUT_OFF, *[SPLIT] * 3] * 2


def test_a_run_counts_what_was_cut_off(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["eval", "self-consistency", "gsm8k", "--data", "rows.jsonl", "--limit", "5"]
    arguments += ["--model", "solver=scripted", "--output", "out"]
    out, err = run(capsys, *arguments, "--json")
    report = json.loads(out)
    assert (report["accuracy"], report["num_reasoning_cut_off"]) == (1, 10)
    notice = "10 of 40 completions ended within their reasoning"
    assert any(notice in warning for warning in report["warnings"])
    assert notice in err
    out, _ = run(capsys, "export", "out")
    rows: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    assert [row["num_reasoning_cut_off"] for row in rows] == [2] * 5
    assert {row["text"] for row in rows} == {"The answer is 5."}
    out, _ = run(capsys, "export", "out", "--traces")
    assert "The answer is 7? No." in out


def test_the_pool_returns_the_same_samples_the_second_time(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = []
    for name in ("one", "two"):
        arguments = ["eval", "self-consistency", "gsm8k", "--data", "rows.jsonl", "--limit", "5"]
        arguments += ["--model", "solver=scripted", "--output", name, "--json"]
        reports.append(json.loads(run(capsys, *arguments)[0]))
    first, second = reports
    assert second["usage"]["generated_tokens"] == 0 < first["usage"]["generated_tokens"]
    for key in ("accuracy", "num_reasoning_cut_off", "warnings", "cost_tokens"):
        assert first[key] == second[key]
