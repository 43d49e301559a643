"""The end of a program's ``solution``: what follows is mostly made up."""

from __future__ import annotations

import re

_BEGINS = re.compile(r"^(?:async )?def solution\b", re.MULTILINE)
_NEXT_STATEMENT = re.compile(r"^(?![\s)\]}#])", re.MULTILINE)
"""A line at the margin, but for one that closes the parameters, and comments."""


def up_to_solution(code: str) -> str | None:
    """A program up to the end of its function ``solution``, or None if it defines none.

    Models often append tests with invented results. Only lines are read, not Python's grammar,
    because the text is often truncated.

    >>> up_to_solution("def solution():\\n    return 7\\n\\nassert solution() == 8")
    'def solution():\\n    return 7\\n'
    """
    begins = _BEGINS.search(code)
    if begins is None:
        return None
    ends = _NEXT_STATEMENT.search(code, begins.end())
    return code[: ends.start() - 1 if ends else len(code)]
