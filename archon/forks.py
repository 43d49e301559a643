"""Reset state in child processes after a fork.

A fork copies a process's memory but only one of its threads. In the child, locks acquired by other
threads stay locked, and event loops and workers in other threads do not exist. A module with such
state registers a function that resets it.
"""

from __future__ import annotations

import os
from collections.abc import Callable


def reset_in_child(reset: Callable[[], None]) -> None:
    """Register a function to call in every process that is forked from this process."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=reset)
