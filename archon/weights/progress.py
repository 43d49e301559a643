"""The progress of a pull, and callbacks that receive it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["waiting", "downloading", "verifying"]


@dataclass(frozen=True, slots=True)
class PullProgress:
    """Progress of a pull; ``total_bytes`` is None if it is unknown."""

    stage: Stage
    """``waiting`` for another process that pulls the same model, ``downloading`` or
    ``verifying``."""
    done_bytes: int = 0
    total_bytes: int | None = None


OnProgress = Callable[[PullProgress], None]


def silent(progress: PullProgress) -> None:
    """Ignore progress."""
