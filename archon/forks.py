"""What a child process resets after a fork.

A fork copies memory but only the thread that forks: locks that other threads held stay locked, and
event loops and workers that ran in other threads stand still. Modules with such state register here
how a child gets rid of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable


def reset_in_child(reset: Callable[[], None]) -> None:
    """Call ``reset`` in every process that is forked from this one; systems without forks need
    nothing."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=reset)
