"""Programs that candidates hold: where they run."""

from __future__ import annotations

from functools import cache

from archon.sandbox import Sandbox


@cache
def shared_sandbox() -> Sandbox:
    """The one of this process, so that all architectures together run a bounded number of programs.

    It is never closed: while no program runs it holds nothing.

    Raises
    ------
    MissingExtraError : the interpreter is not installed.
    """
    return Sandbox()
