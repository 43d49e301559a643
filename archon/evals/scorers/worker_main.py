"""The process of ``worker.py``: it reads one call per line, and writes one reply per line."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

MEMORY_BYTES = 4 << 30
"""Maximum address space of the process."""
_NEVER_SECONDS = 3600
"""Timeout of math-verify itself. It is never reached, because the process has a shorter limit."""


def _search(pattern: str, text: str, group: int | str, takes_last: bool) -> str | None:
    """Return what a regular expression finds in a text: a group of its first or last match."""
    import re

    found = None
    for match in re.finditer(pattern, text):
        found = match.group(group)
        if not takes_last:
            break
    return found


def _math(targets: list[str], answer: str) -> bool:
    """Return whether an answer is mathematically equal to one of the targets (``math-verify``)."""
    from math_verify import parse, verify

    given = parse(answer, parsing_timeout=_NEVER_SECONDS)
    return any(
        verify(parse(target, parsing_timeout=_NEVER_SECONDS), given, timeout_seconds=_NEVER_SECONDS)
        for target in targets
    )


def _prepare_math() -> None:
    _math(["$1$"], r"$\frac{2}{2}$")  # imports sympy, and compiles patterns and the grammar


WORK: Mapping[str, tuple[Callable[..., Any], Callable[[], None]]] = {
    "regex": (_search, lambda: None),
    "math": (_math, _prepare_math),
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
