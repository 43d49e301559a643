"""The limits on a program, and the outcome of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from archon.sandbox.values import Json

Kind = Literal["ok", "error", "timeout", "memory", "output", "killed"]
"""How a run ended. ``error`` is an error in the program; ``timeout``, ``memory`` and ``output``
mean that a limit was exceeded; ``killed`` means that the process died."""


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """Limits on one program."""

    seconds: float = 5.0
    """Maximum running time, excluding the start of the process."""
    memory_bytes: int = 64 << 20
    """Maximum memory in use at any time; at least 1 MiB."""
    output_bytes: int = 64 << 10
    """Maximum size of the printed text; the same limit applies separately to the value."""
    code_bytes: int = 64 << 10
    """Maximum size of the program's source code."""

    def __post_init__(self) -> None:
        assert self.seconds > 0
        assert self.memory_bytes >= 1 << 20
        assert self.output_bytes > 0
        assert self.code_bytes > 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of one run of a program."""

    kind: Kind
    value: Json = None
    """Value of the program; None if it has none."""
    stdout: str = ""
    """Printed text, truncated to ``SandboxLimits.output_bytes``."""
    error: str | None = None
    """Type, message and line of the error, or the exceeded limit; None if ``kind`` is ok."""
    seconds: float = 0.0
    """Time from the start of the session to this outcome."""


@dataclass(frozen=True, slots=True)
class Checked:
    """Outcomes of a program and of each of its tests; the outcome of a passed test is ``ok``."""

    program: Outcome
    """Outcome of the program without tests. If it failed, this is also the outcome of every
    test."""
    tests: tuple[Outcome, ...]

    @property
    def num_passed(self) -> int:
        """Number of tests that passed."""
        return sum(test.kind == "ok" for test in self.tests)
