"""Runs Python that a language model wrote, which may be wrong, endless or hostile.

Programs run in ``pydantic-monty``, an interpreter of a subset of Python without access to files,
network, environment or processes. Every program has its own process, with an empty environment and
limits on time, memory and output; the process ends with the program, or is killed. The clock stands
still and random numbers have a fixed seed, so a program's value depends on the program alone.

``sandbox.py`` is the whole, ``outcome.py`` has limits and results, ``program_session.py`` is one
process, ``program_tests.py`` runs tests that a program cannot cheat, ``solution.py`` cuts off a
program's own tests.
"""

from __future__ import annotations

from archon.sandbox.outcome import Checked, Kind, Outcome, SandboxLimits
from archon.sandbox.sandbox import Sandbox
from archon.sandbox.values import Json

__all__ = ["Checked", "Json", "Kind", "Outcome", "Sandbox", "SandboxLimits"]
