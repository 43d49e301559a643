"""Reset of state in child processes after a fork.

A fork copies the memory of a process but only one of its threads. In the child, locks that other
threads had acquired stay locked, and event loops and workers in other threads do not exist. Modules
with such state register a function that resets it.
"""

from __future__ import annotations

import os
from collections.abc import Callable


def reset_in_child(reset: Callable[[], None]) -> None:
    """Register a function that is called in every process that is forked from this one."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=reset)
