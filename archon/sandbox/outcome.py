"""Limits of a program, and the outcome of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from archon.sandbox.values import Json

Kind = Literal["ok", "error", "timeout", "memory", "output", "killed"]
"""End of a run. ``error`` is an error of the program; ``killed`` means that its process died."""


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """Limits of one program."""

    seconds: float = 5.0
    """Running time, without the start of the process."""
    memory_bytes: int = 64 << 20
    """Memory in use at any time; at least 1 MiB."""
    output_bytes: int = 64 << 10
    """Size of the printed text, and separately of the value."""
    code_bytes: int = 64 << 10
    """Size of the program's text."""

    def __post_init__(self) -> None:
        assert self.seconds > 0
        assert self.memory_bytes >= 1 << 20
        assert self.output_bytes > 0
        assert self.code_bytes > 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of one run."""

    kind: Kind
    value: Json = None
    """Value of the program; None if it has none."""
    stdout: str = ""
    """Printed text, truncated to ``SandboxLimits.output_bytes``."""
    error: str | None = None
    """Type, message and line of the error, or the exceeded limit; None if ``kind`` is ok."""
    seconds: float = 0.0
    """Time from the start of the process to its end."""


@dataclass(frozen=True, slots=True)
class Checked:
    """Outcomes of a program and of each of its tests; a passed test is ``ok``."""

    program: Outcome
    """Outcome without tests. If it is a failure, it is also the outcome of every test."""
    tests: tuple[Outcome, ...]

    @property
    def num_passed(self) -> int:
        """Number of tests that passed."""
        return sum(test.kind == "ok" for test in self.tests)
