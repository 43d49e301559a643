"""State that a child process resets after a fork.

A fork copies memory but only the forking thread. In the child, locks of other threads stay locked,
and event loops and workers in other threads are dead. Modules with such state register a function
that resets it.
"""

from __future__ import annotations

import os
from collections.abc import Callable


def reset_in_child(reset: Callable[[], None]) -> None:
    """Call ``reset`` in every process that is forked from this one."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=reset)
