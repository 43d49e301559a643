"""Where a program's ``solution`` ends: what stands beneath it is mostly made up."""

from __future__ import annotations

import re

_BEGINS = re.compile(r"^(?:async )?def solution\b", re.MULTILINE)
_NEXT_STATEMENT = re.compile(r"^(?![\s)\]}#])", re.MULTILINE)
"""A line at the margin, but for one that closes the parameters, and comments."""


def up_to_solution(code: str) -> str | None:
    """A program as far as its function ``solution`` goes, or None if it defines none.

    Models like to write tests beneath it, and make up the results that these expect. Lines are
    read, not Python's grammar, since what follows is often cut off in the middle.

    >>> up_to_solution("def solution():\\n    return 7\\n\\nassert solution() == 8")
    'def solution():\\n    return 7\\n'
    """
    begins = _BEGINS.search(code)
    if begins is None:
        return None
    ends = _NEXT_STATEMENT.search(code, begins.end())
    return code[: ends.start() - 1 if ends else len(code)]
