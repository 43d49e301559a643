"""The examples run as their own texts tell."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import httpx
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str) -> list[str]:
    command = [sys.executable, str(EXAMPLES / name), "scripted"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_script_prints_answer_votes_and_cost() -> None:
    lines = run("script.py")
    assert any("votes for" in line for line in lines)
    assert lines[-1].endswith("in 8 calls")


def test_a_function_as_a_model_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    answer, vote, single, difference = run("own_model.py")
    assert answer == "The answer is 42."
    assert vote.startswith("vote-of-9: ")
    assert single.startswith("single-call: ")
    assert difference.startswith("difference +")


def test_the_asyncio_app_watches_one_question_and_answers_three() -> None:
    lines = run("asyncio_app.py")
    assert lines[0] == "draft starts"
    assert sum(line.startswith("What is") for line in lines) == 3


def test_a_study_of_ones_own_prints_its_front() -> None:
    pytest.importorskip("optuna")
    lines = run("own_study.py")
    assert lines
    assert all("tokens: {'samples':" in line for line in lines)


@pytest.fixture
def fastapi_app(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("SOLVER", "scripted")
    spec = importlib.util.spec_from_file_location("fastapi_app", EXAMPLES / "fastapi_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fastapi_app", module)
    spec.loader.exec_module(module)
    return module


async def test_the_fastapi_app_answers_whole_and_line_by_line(fastapi_app: ModuleType) -> None:
    transport = httpx.ASGITransport(fastapi_app.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        question = {"text": "What is 17 * 23?"}
        solved = (await http.post("/solve", json=question)).json()
        assert solved["text"]
        assert solved["cost_tokens"] > 0
        *nodes, last = (await http.post("/watch", json=question)).text.splitlines()
        assert [json.loads(line)["node"] for line in nodes] == ["draft", "answer"]
        assert "value" in json.loads(last)
        assert (await http.post("/solve", json={})).status_code == 422
