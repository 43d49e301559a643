"""Limits of a program, and outcomes of running it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from archon.sandbox.values import Json

Kind = Literal["ok", "error", "timeout", "memory", "output", "killed"]
"""How a run ended: ``error`` is the program's own, ``killed`` a process that died by itself."""


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What one program may use."""

    seconds: float = 5.0
    """Of running, the start of the process not counted."""
    memory_bytes: int = 64 << 20
    """Of everything that the program holds at a time; 1 MiB at least."""
    output_bytes: int = 64 << 10
    """Of what it prints, and of its value, each."""
    code_bytes: int = 64 << 10
    """Of the program's text."""

    def __post_init__(self) -> None:
        assert self.seconds > 0
        assert self.memory_bytes >= 1 << 20
        assert self.output_bytes > 0
        assert self.code_bytes > 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one run."""

    kind: Kind
    value: Json = None
    """The program's value; None if it has none."""
    stdout: str = ""
    """What it printed, cut at ``SandboxLimits.output_bytes``."""
    error: str | None = None
    """Type, message and line of the error, or which limit was passed; None if ``kind`` is ok."""
    seconds: float = 0.0
    """From the start of its process to the end."""


@dataclass(frozen=True, slots=True)
class Checked:
    """Results of a program and of each of its tests; a test that passed is ``ok``."""

    program: Outcome
    """Of the program alone; its tests end as it does where it fails."""
    tests: tuple[Outcome, ...]

    @property
    def num_passed(self) -> int:
        """How many tests passed."""
        return sum(test.kind == "ok" for test in self.tests)
