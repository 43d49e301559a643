"""The last lines that judges owe: the forms that ``archon.graph.parsing`` reads first.

A model with the capability ``constraint`` argues freely and is then held to one of these. The
default templates ask for the same lines in words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from archon.types import Constraint, FreeText, UnitTestMethod

_MAX_RANKED = 64
"""Items that an order may have at most."""
_MAX_TESTS = 64
"""Tests that a form counts."""
_MAX_TEST_LENGTH = 300
"""Characters of one test."""


def ranking_form(count: int) -> Constraint | None:
    """``Ranking: [2] > [1]``: each candidate once; None for more than an order may have."""
    if count > _MAX_RANKED:
        return None
    labels = tuple(f"[{number}]" for number in range(1, count + 1))
    return Constraint(order_of=labels, after=_free_text("Ranking:", " > ".join(labels)))


def unit_tests_form(method: UnitTestMethod, max_tests: int) -> Constraint:
    """The whole reply: a line a test, ``1. It is even.`` or ``assert solution(2) == 4``."""
    start = "assert" if method == "program" else r"[1-9][0-9]{0,4}\."
    count = f"{{1,{max_tests}}}" if max_tests <= _MAX_TESTS else "+"
    return Constraint(regex=f"(?:{start} .{{1,{_MAX_TEST_LENGTH}}}\n){count}")


def results_form(num_tests: int) -> Constraint | None:
    """``Tests: [1] pass, [2] fail``: a verdict for each; None for more than a form may have."""
    if num_tests > _MAX_TESTS:
        return None
    numbers = range(1, num_tests + 1)
    regex = ", ".join(rf"\[{number}\] (?:pass|fail)" for number in numbers)
    longest = ", ".join(f"[{number}] pass" for number in numbers)
    return Constraint(regex=regex, after=_free_text("Tests:", longest))


def _free_text(label: str, longest: str) -> FreeText:
    """Room for the label and the longest text that can follow it: a token has a byte at least."""
    return FreeText(label, room=len(f"\n{label} {longest}".encode()))


def _choice(label: str, choices: Sequence[str]) -> Constraint:
    return Constraint(
        regex="|".join(map(re.escape, choices)), after=_free_text(label, max(choices, key=len))
    )


VERDICT_FORM = _choice("Verdict:", ("correct", "incorrect"))
"""``Verdict: correct`` or ``Verdict: incorrect``."""

PREFERENCE_FORM = _choice("Better:", ("[1]", "[2]"))
"""``Better: [1]`` or ``Better: [2]``."""
