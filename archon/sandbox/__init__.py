"""Runs Python that a language model wrote, which may be wrong, endless or hostile.

Programs run in ``pydantic-monty``, an interpreter of a subset of Python that has no way to files,
network, environment or processes. Every program has a process of its own, with an empty
environment and limits on time, memory and output; it ends with the program, or is killed. The
clock stands still and random numbers have a fixed seed, so a program's value depends on the
program alone.

Read ``outcome.py`` for what comes back, ``session.py`` for one process, ``judge.py`` for tests
that a program cannot cheat, ``solution.py`` for programs that fail tests of their own,
``sandbox.py`` for the whole.
"""

from __future__ import annotations

from archon.sandbox.outcome import Checked, Kind, Limits, Outcome
from archon.sandbox.sandbox import Sandbox
from archon.sandbox.values import Json

__all__ = ["Checked", "Json", "Kind", "Limits", "Outcome", "Sandbox"]
