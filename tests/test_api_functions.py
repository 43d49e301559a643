"""The functions of the API: comparisons, asynchronous forms, serving, training."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from api_doubles import single

import archon
from archon.cli.main import main
from archon.errors import UsageError
from archon.evals.run import read_run


def vote(name: str = "vote") -> dict[str, Any]:
    nodes = {
        "draft": {"type": "generator", "model": "m", "samples": 4},
        "answer": {"type": "vote", "inputs": ["draft"]},
    }
    return single(name=name, nodes=nodes, output="answer")


def test_a_comparison_is_that_of_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "both"
    found = archon.compare([vote(), archon.load(single())], "smoke", limit=6, output=output)
    assert [row["name"] for row in found.rows] == ["vote", "one"]
    (pair,) = found.pairs
    assert (pair["a"], pair["b"], pair["num_items"]) == ("vote", "one", 6)
    assert {"difference", "interval", "p_value", "p_value_adjusted"} <= pair.keys()
    paths = [output / "1-vote", output / "2-one"]
    assert main(["compare", *map(str, paths), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(found.to_json()))
    again = archon.compare([read_run(path) for path in paths])
    assert again.to_json() == found.to_json()
    resumed = archon.compare([vote(), single()], "smoke", limit=6, output=output, resume=True)
    assert resumed.pairs == found.pairs
    assert "vote" in repr(found)
    assert "<table>" in found._repr_html_()


def test_models_of_a_comparison_replace_those_of_all(tmp_path: Path) -> None:
    def solve(messages: Any) -> str:
        return "The answer is 5."

    found = asyncio.run(
        archon.acompare([vote(), single()], "smoke", models=solve, limit=2, output=tmp_path / "c")
    )
    assert [row["models"] for row in found.rows] == [{"m": None}] * 2


@pytest.mark.parametrize(
    ("architectures", "benchmark", "reason"),
    [
        ([single()], "smoke", "at least two"),
        ("rank-fuse", "smoke", "a list of at least two"),
        ([single(), single()], None, "needs a benchmark"),
    ],
)
def test_comparisons_that_cannot_be_made(architectures: Any, benchmark: Any, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        archon.compare(architectures, benchmark)


async def test_a_cancelled_evaluation_keeps_its_answers_and_continues(tmp_path: Path) -> None:
    output, started = tmp_path / "run", asyncio.Event()

    async def solve(messages: list[dict[str, str]]) -> str:
        if started.is_set():
            await asyncio.sleep(60)
        return "The answer is 5."

    def on_progress(progress: Any) -> None:
        started.set()

    architecture = archon.load(single(), solve)
    evaluating = asyncio.create_task(
        archon.aevaluate(
            architecture, "smoke", limit=6, epochs=40, output=output, on_progress=on_progress
        )
    )
    await started.wait()
    evaluating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await evaluating
    kept = len(read_run(output).records())
    assert kept > 0
    started.clear()
    report = await archon.aevaluate(
        archon.load(single(), solve), "smoke", limit=6, epochs=40, output=output, resume=True
    )
    assert report.num_runs == 240
    assert not report.interrupted


async def test_the_loop_runs_during_a_search(tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    nodes = {"a": {"type": "generator", "model": "m", "samples": {"$choice": [1, 2]}}}
    space = {**single(nodes=nodes), "name": "small"}
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    result = await archon.asearch(space, "smoke", trials=2, limit=2, finalists=0)
    ticking.cancel()
    assert result.num_trials == 2
    assert ticks > 2
    assert result.study in repr(result)
    assert "<table>" in result._repr_html_()


def test_progress_is_shown_if_it_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archon.evaluate(single(), "smoke", limit=2, output=tmp_path / "a")
    assert capsys.readouterr() == ("", "")
    archon.evaluate(single(), "smoke", limit=2, output=tmp_path / "b", progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "one" in shown.err
    assert "2/2" in shown.err


def test_a_server_in_a_background_thread() -> None:
    httpx = pytest.importorskip("httpx")
    pytest.importorskip("uvicorn")

    def solve(messages: list[dict[str, str]]) -> str:
        return f"{messages[-1]['content']} It is 5."

    served = {"one": archon.load(single()), "function": solve}
    with archon.serve(served, port=0, block=False) as server:
        listed = httpx.get(f"{server.base_url}/models").json()
        assert [model["id"] for model in listed["data"]] == ["one", "function"]
        body = {"model": "function", "messages": [{"role": "user", "content": "2 + 3?"}]}
        reply = httpx.post(f"{server.base_url}/chat/completions", json=body).json()
        assert reply["choices"][0]["message"]["content"] == "2 + 3? It is 5."
        assert server.is_running
    assert not server.is_running
    assert repr(server).endswith(", closed>")
    with archon.serve(single(), port=0, block=False) as server:
        assert httpx.get(f"{server.base_url}/models").json()["data"][0]["id"] == "one"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"host": "0.0.0.0"}, "set api_key"),
        ({"max_token": 3}, "no limit max_token"),
    ],
)
def test_a_server_that_may_not_start(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        archon.serve(single(), block=False, **options)
