"""Sandbox for Python code written by a language model, which may be wrong, hostile, or run forever.

Programs run in ``pydantic-monty``, an interpreter for a subset of Python without access to files,
network, environment or processes. Every program runs in a separate process, with an empty
environment and limits on time, memory and output. The process ends when the program ends, or it is
killed. The clock is frozen and random numbers have a fixed seed, so a program's value depends only
on the program.

``sandbox.py`` contains the public class, and ``outcome.py`` contains its limits and results.
``program_session.py`` controls one process, ``worker_process.py`` sets the operating system's
limits for it, and ``program_tests.py`` runs tests with which a program cannot interfere.
"""

from __future__ import annotations

from archon.sandbox.outcome import Checked, Kind, Outcome, SandboxLimits
from archon.sandbox.sandbox import Sandbox
from archon.sandbox.values import Json

__all__ = ["Checked", "Json", "Kind", "Outcome", "Sandbox", "SandboxLimits"]
