"""Long hostile texts cost the readers of choices, expressions and JSON little time.

``tests/evals/test_evals_hostile.py`` has the other types.
"""

from __future__ import annotations

import time

import pytest

from archon.answers import read_answer
from archon.types import AnswerKind

CHARACTERS = 150_000
MAX_SECONDS = 0.5
"""Of processor time; most texts take a tenth of it or less. A quadratic reader takes minutes."""

UNITS: dict[AnswerKind, list[str]] = {
    "choice": ["The answer is ", "(A) and ", "A) Rome\n", "Rome ", "a b ", "答案", r"\boxed{"],
    "math": ["The answer is $", r"\boxed{", "$x$ or ", r"\[", "**A**\n", "\\\\", r"\boxed{1} and "],
    "json": ['{"a":', '{"', "[1] ", '["a",', "[", "{}", "```json\n", r"\boxed{"],
}


@pytest.mark.parametrize(("kind", "unit"), [(k, unit) for k in UNITS for unit in UNITS[k]])
def test_hostile_texts_take_little_time(kind: AnswerKind, unit: str) -> None:
    text = (unit * (CHARACTERS // len(unit) + 1))[:CHARACTERS]
    choices = ("Rome", "Paris", "a b") if kind == "choice" else ()
    started = time.process_time()
    read_answer(text, kind, choices=choices)
    assert time.process_time() - started < MAX_SECONDS
