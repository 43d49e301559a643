"""Fakes for evaluations: an architecture with prescribed answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from archon.evals.benchmarks import Item, Selection
from archon.evals.records import Record
from archon.evals.scorers import plain_scorer
from archon.graph.answer import Answer
from archon.spec.architecture import ArchitectureSpec
from archon.spec.benchmark import BenchmarkCard
from archon.spec.model import ScriptedCard
from archon.types import Question, Usage

CARD = BenchmarkCard.model_validate({"version": 1, "name": "sums", "source": {"jsonl": "x"}})
SELECTION = Selection(CARD)
NUMBER_EXACT = plain_scorer("number-exact")
USAGE = Usage(prompt_tokens=10, completion_tokens=5, generated_tokens=4, calls=1)


def make_items(count: int) -> list[Item]:
    """Items 0, 1, 2, … whose answers are their numbers."""
    return [Item(f"item-{n}", f"What is {n}?", str(n)) for n in range(count)]


def make_record(item: str, score: float, epoch: int = 0, error: str | None = None) -> Record:
    """A record of an answer, or of a failure."""
    return Record(
        specification="0" * 32,
        item=item,
        epoch=epoch,
        question="?",
        target="1",
        text=None if error else "1",
        value=None if error else "1",
        score=score,
        explanation="",
        cost_tokens=0 if error else 15,
        usage=Usage() if error else USAGE,
        seconds=0.5,
        error=error,
    )


class FakeArchitecture:
    """Answers a question with the result of ``reply``; raises it if it is an exception."""

    def __init__(self, reply: Callable[[Question, int], str | BaseException]) -> None:
        self.reply = reply
        self.asked: list[tuple[Question, int, int]] = []
        self.num_running = self.most_running = 0
        self.spec = ArchitectureSpec.model_validate(
            {
                "version": 1,
                "name": "fake",
                "models": {"solver": "scripted", "inner": {"architecture": "single"}, "own": "x"},
                "nodes": {"draft": {"type": "generator", "model": "solver"}},
                "output": "draft",
            }
        )

    @property
    def name(self) -> str:
        return self.spec.name

    def specification(self, answer: str, examples: Any, ending: bool = True) -> dict[str, Any]:
        card = ScriptedCard(name="scripted", backend="scripted").model_dump(mode="json")
        inner = {"architecture": {"name": "single"}, "models": {}, "prompts": {}}
        return {
            "architecture": self.spec.model_dump(mode="json"),
            "models": {"solver": card, "inner": inner, "own": None},
            "prompts": {},
        }

    async def answer(self, question: Question, *, seed: int = 0, run: int = 0) -> Answer:
        self.asked.append((question, seed, run))
        self.num_running += 1
        self.most_running = max(self.most_running, self.num_running)
        try:
            await asyncio.sleep(0)
            text = self.reply(question, run)
        finally:
            self.num_running -= 1
        if isinstance(text, BaseException):
            raise text
        trace: Any = SimpleNamespace(
            nodes={}, num_reasoning_cut_off=0, to_json=lambda: {"said": text}
        )
        return Answer(text, None, (), USAGE, 15, 0.25, trace)


def echo(question: Question, run: int) -> str:
    """The right answer to every question of ``make_items``."""
    return question.text
