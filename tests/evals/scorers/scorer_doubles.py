"""Scorers by name, and rows of tables of answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from archon.evals.scorers import Attempt, Score, Scorer, find_scorer
from archon.evals.scorers.registry import SCORERS
from archon.spec.benchmark import BenchmarkCard
from archon.types import AnswerKind


def scorer_of(given: Any, kind: AnswerKind | None = None) -> Scorer:
    """A scorer as the command line names it, for answers of a kind, by default its usual kind."""
    name = given["name"] if isinstance(given, dict) else given.partition(":")[0]
    kind = kind or SCORERS[name].kinds[0]
    card = {"version": 1, "name": "t", "source": {"jsonl": "t"}, "answer": kind}
    return find_scorer(BenchmarkCard.model_validate(card), name=given)


async def score_of(scorer: Scorer, text: str, target: str, **parts: Any) -> Score:
    return await scorer.score(Attempt(text, target, **parts))


def pairs(table: str) -> list[tuple[str, str]]:
    """Rows ``answer | target | answer | target …``; several pairs fit in a line."""
    cells = [cell.strip() for line in table.strip().splitlines() for cell in line.split(" ; ")]
    rows = [tuple(part.strip() for part in cell.split(" | ")) for cell in cells]
    assert all(len(row) == 2 for row in rows), [row for row in rows if len(row) != 2]
    return rows  # type: ignore[return-value]


def check_size(*tables: Iterable[Any]) -> None:
    assert sum(len(list(table)) for table in tables) >= 50
