"""Mathematical equivalence of the values of ``math_text.py``.

The library math-verify compares them with sympy, in a process with a time limit
(``archon.workers``). If it is not installed, only equal strings are the same value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec

from archon.answers.numerals import canonical_number
from archon.warn_once import warn_once
from archon.workers.process import WorkError, WorkTimeoutError, shared_worker

SECONDS = 2.0
"""CPU time limit of one comparison."""
_MAX_COMPARISONS = 500
_MAX_TIMEOUTS = 3
_WORDS = re.compile(r"[^\W\d_]{2,}(?:[ '-][^\W\d_]+)*")

_MISSING = (
    "without the package math-verify, expressions are the same only if they are written alike; "
    'install it with: pip install "archon-inference[evals]"'
)


def are_equivalent(a: str, b: str) -> bool:
    """Return whether two canonical expressions are mathematically equal.

    A comparison that exceeds its time limit returns False.
    """
    return bool(_compared(a, b))


def first_equivalent(values: Sequence[str]) -> list[str]:
    """Group equivalent expressions; return the first value of each value's group, in order.

    A value is compared only with the first value of each group, because a chain of nearly equal
    values could otherwise connect very different ones. After 500 comparisons or 3 that exceed their
    time limit, further values are the same only if their strings are equal.
    """
    first_of: dict[str, str] = {}
    firsts: list[str] = []
    num_left, timeouts = _MAX_COMPARISONS, 0
    for value in dict.fromkeys(values):
        first_of[value] = value
        for first in firsts:
            if num_left == 0 or timeouts == _MAX_TIMEOUTS:
                break
            if _differ_surely(first, value):
                continue
            num_left -= 1
            result = _compared(first, value)
            if result is None:
                timeouts += 1
                break
            if result:
                first_of[value] = first
                break
        if first_of[value] == value:
            firsts.append(value)
    return [first_of[value] for value in values]


@lru_cache(maxsize=4096)
def _compared(a: str, b: str) -> bool | None:
    """Return whether two expressions are equal; None if the comparison takes too long."""
    if a == b:
        return True
    if _differ_surely(a, b):
        return False
    if find_spec("math_verify") is None:
        warn_once(_MISSING)
        return False
    try:
        return bool(shared_worker("math").call(SECONDS, a=a, b=b))
    except WorkTimeoutError:
        return None
    except WorkError:
        return False


def _differ_surely(a: str, b: str) -> bool:
    """Return whether two different values are both numbers, or both words, which are not equal."""
    are_numbers = canonical_number(a) == a and canonical_number(b) == b
    return are_numbers or bool(_WORDS.fullmatch(a) and _WORDS.fullmatch(b))
