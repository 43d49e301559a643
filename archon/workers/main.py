"""The process of ``process.py``: it reads one call per line, and writes one reply per line."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

MEMORY_BYTES = 4 << 30
"""Maximum address space of the process."""
_NEVER_SECONDS = 3600
"""Timeout of math-verify itself. It is never reached, because the process has a shorter limit."""


def _are_equivalent(a: str, b: str, both_ways: bool = True) -> bool:
    """Return whether two expressions in LaTeX are mathematically equal (``math-verify``).

    ``verify`` accepts a pair as an answer to a set, but not the reverse. By default both ways must
    hold; otherwise, ``a`` is the target and ``b`` an answer to it.
    """
    from math_verify import parse, verify

    first, second = (parse(_marked(x), parsing_timeout=_NEVER_SECONDS) for x in (a, b))
    ways = ((first, second), (second, first)) if both_ways else ((first, second),)
    return all(verify(gold, given, timeout_seconds=_NEVER_SECONDS) for gold, given in ways)


def _marked(expression: str) -> str:
    """Mark an expression as LaTeX, unless it contains marks, so that it is read completely."""
    is_marked = re.search(r"(?<!\\)\$|\\boxed", expression)
    return expression if is_marked else rf"\boxed{{{expression}}}"


def _search(pattern: str, text: str, group: int | str, takes_last: bool) -> str | None:
    """Return what a regular expression finds in a text: a group of its first or last match."""
    found = None
    for match in re.finditer(pattern, text):
        found = match.group(group)
        if not takes_last:
            break
    return found


def _prepare_math() -> None:
    _are_equivalent("1", r"\frac{2}{2}")  # imports sympy, and compiles patterns and the grammar


WORK: Mapping[str, tuple[Callable[..., Any], Callable[[], None]]] = {
    "math": (_are_equivalent, _prepare_math),
    "regex": (_search, lambda: None),
}
"""Kind of work → the function that does it, and one that prepares it."""


def _limit_memory() -> None:
    try:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        bound = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
        resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
    except (ImportError, ValueError, OSError):
        return


def _limit_time(seconds: float) -> None:
    """End this process after CPU time, by a signal that needs no Python code to run."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def main(name: str) -> None:
    """Serve calls until the parent closes its end."""
    work, prepare = WORK[name]
    replies, sys.stdout = sys.stdout.buffer, sys.stderr
    prepare()
    _limit_memory()
    replies.write(b"ready\n")
    replies.flush()
    for line in sys.stdin.buffer:
        call = json.loads(line)
        _limit_time(call["seconds"])
        try:
            reply = {"result": work(**call["arguments"])}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"[:500]}
        _limit_time(0)
        replies.write(json.dumps(reply).encode() + b"\n")
        replies.flush()


if __name__ == "__main__":
    main(sys.argv[1])
