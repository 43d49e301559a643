"""A megabyte of hostile text costs every reader and scorer milliseconds."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from archon.answers import read_answer
from archon.evals.scorers import SCORERS, plain_scorer

MEGABYTE = 1_000_000
MAX_SECONDS = 1.0
"""Of processor time; most texts take a tenth of it or less."""

UNITS = [
    "answer is ",
    "The answer is 1/",
    "Answer:\n",
    r"\boxed{",
    '{"answer": "',
    "<answer>",
    "\nConfidence: 5",
    "1~",
    "A. ",
    r"\frac{1}{",
    r"\frac11",
    "#",
    "#### ",
    "(",
    "7",
    ",",
    "1,",
    "1/",
    "1:",
    "1) a\n",
    "-",
    " ",
    "\n",
    "`",
    "```\n",
    "\u0661",  # a digit that is not ASCII
    "a\u0301",  # a combining mark
    "\u0301",
    "\ud800",  # half a surrogate pair
    "\ufdfa",  # one character that stands for eighteen
]


IN_OWN_TESTS = ("ifeval", "inspect-answer")
"""Scorers that need parameters or a row; tests/evals/scorers has hostile texts for them."""
SAME_READER = ("number-close",)
"""Scorers that read a text as another one does, number-exact; only their comparison differs."""


def seconds_of(read: Callable[[str], object], text: str) -> float:
    started = time.process_time()
    read(text)
    return time.process_time() - started


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("opening", ["", "The answer is "])
def test_hostile_texts_take_little_time(unit: str, opening: str) -> None:
    text = (opening + unit * (MEGABYTE // len(unit) + 1))[:MEGABYTE]
    # number-exact and text-exact read numbers and texts.
    assert seconds_of(lambda text: read_answer(text, "code"), text) < MAX_SECONDS
    for name, scorer in SCORERS.items():
        if scorer.is_async or name in (*IN_OWN_TESTS, *SAME_READER):
            continue
        judge = plain_scorer(name)
        assert seconds_of(lambda text, judge=judge: judge(None, text, "7"), text) < MAX_SECONDS
