"""Samples that fail during an evaluation: counted, reported, and requested again by another run."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import archon
from archon.errors import LMError
from archon.evals.run import read_run
from archon.evals.view.flow import Flow
from archon.evals.view.texts import SharedTexts, Texts
from archon.types import Completion, OnEvent, Request, Usage

NODES: dict[str, Any] = {
    "draft": {"type": "generator", "model": "solver", "samples": 4},
    "answer": {"type": "vote", "inputs": ["draft"]},
}
SPEC = {
    "version": 1, "name": "voting", "models": {"solver": "scripted"}, "nodes": NODES,
    "output": "answer",
}  # fmt: skip


class Flaky:
    """Loses one sample of every question, and all samples of questions with ``fails``."""

    capabilities = frozenset({"chat"})

    def __init__(self, fails: str = "nothing") -> None:
        self.fails = fails

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        await asyncio.sleep(0)
        if self.fails in request.messages[-1].content:
            raise LMError("down")
        used, prompts = Usage(5, 0, 2, 2, 0, 1), {request.messages[-1].content: 5}
        draws = range(request.first_draw, request.first_draw + request.n)
        return [
            Completion("", draw, "error", Usage(), {}, error="lost")
            if draw == 2
            else Completion("The answer is 7.", draw, "stop", used, prompts)
            for draw in draws
        ]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [{"id": str(n), "question": f"What is {n} + {7 - n}?", "answer": "7"} for n in range(9)]
    file = tmp_path / "items.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_a_report_counts_failed_samples(data: Path, tmp_path: Path) -> None:
    architecture = archon.load(SPEC, models={"solver": Flaky()})
    output = tmp_path / "run"
    report = archon.evaluate(architecture, "smoke", split="test", limit=3, data=data, output=output)
    assert (report.accuracy, report.num_errors, report.num_failed_samples) == (1.0, 0, 3)
    assert "3 of 12 samples failed; the answers are based on the other samples" in report.warnings
    records = [entry.record for entry in read_run(output).entries()]
    assert [(r.samples, r.failed_samples, len(r.draws["draft"])) for r in records] == [
        (4, 1, 3)
    ] * 3
    trace = next(iter(read_run(output).entries())).trace
    assert trace is not None
    calls = Flow.of(trace).to_json(Texts(SharedTexts()))["nodes"][0]["calls"]
    assert [one["finish"] for one in calls[0]["completions"]][2] == "error: lost"
    assert json.loads((output / "report.json").read_text())["num_failed_samples"] == 3


def test_an_item_of_which_every_sample_failed_is_an_error(data: Path, tmp_path: Path) -> None:
    architecture = archon.load(SPEC, models={"solver": Flaky("What is")})
    report = archon.evaluate(
        architecture, "smoke", split="test", limit=2, data=data, output=tmp_path / "run"
    )
    assert (report.num_errors, report.num_failed_samples) == (2, 0)
