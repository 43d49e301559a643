"""Scorers of exactly equal values: ``number-exact``, ``text-exact`` and ``json``."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from archon.answers import same_value
from archon.evals.scorers.declaration import Attempt, Judge, Score, ScorerType, Setup, compared
from archon.types import AnswerKind


def _equal_values(kind: AnswerKind) -> Judge:
    def judge(attempt: Attempt) -> Score:
        answer, targets = attempt.read(kind), attempt.accepted(kind)
        is_equal = any(same_value(answer, target) for target in targets)
        return compared(answer, is_equal, targets, f"no {kind} in the answer")

    return judge


NUMBER_EXACT = ScorerType(
    name="number-exact",
    description="Right if the number equals the target exactly: 0.5 equals 1/2, but 0.3333 is not "
    "1/3.",
    kinds=("number",),
    make=lambda setup: _equal_values("number"),
    aliases=("number",),
)
TEXT_EXACT = ScorerType(
    name="text-exact",
    description="Right if the text equals the target, ignoring letter case, white space and "
    "surrounding punctuation.",
    kinds=("text",),
    make=lambda setup: _equal_values("text"),
    aliases=("exact",),
)


def _equal_json(setup: Setup) -> Judge:
    def judge(attempt: Attempt) -> Score:
        answer, targets = attempt.read("json"), attempt.accepted("json")
        if answer is None:
            return Score(0, None, "no JSON value in the answer")
        if answer in targets:
            return Score(1, answer, "equals the target")
        value = _parsed(answer)
        wanted = [_parsed(target) for target in targets]
        is_equal = value is not None and any(_is_same(value, other) for other in wanted)
        return compared(answer, is_equal, targets, "")

    return judge


def _parsed(text: str) -> tuple[Any] | None:
    """Return the JSON value of a text in a tuple of one; None if there is none.

    Numbers are exact, and huge ones cost no time.
    """
    try:
        return (json.loads(text, parse_int=Decimal, parse_float=Decimal, parse_constant=_refuse),)
    except (ValueError, ArithmeticError, RecursionError):
        return None


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _is_same(a: Any, b: Any) -> bool:
    """Compare two JSON values; 1 equals 1.0, but True does not equal 1."""
    try:
        if isinstance(a, dict) and isinstance(b, dict):
            return a.keys() == b.keys() and all(_is_same(a[key], b[key]) for key in a)
        if isinstance(a, list | tuple) and isinstance(b, list | tuple):
            return len(a) == len(b) and all(map(_is_same, a, b))
        return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)
    except RecursionError:
        return False


JSON_EQUAL = ScorerType(
    name="json",
    description="Right if the JSON value equals the target; the order of keys and the notation of "
    "numbers do not matter.",
    kinds=("json",),
    make=_equal_json,
)

SCORER_TYPES = (NUMBER_EXACT, TEXT_EXACT, JSON_EQUAL)
