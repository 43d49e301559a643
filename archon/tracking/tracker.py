"""The interface of an experiment tracker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Kind = Literal["eval", "search", "train"]
Status = Literal["finished", "interrupted", "failed"]


def status_of(error: BaseException) -> Status:
    """Return the status of a run that this error ended: Ctrl-C and cancellation interrupt it."""
    return "failed" if isinstance(error, Exception) else "interrupted"


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run of ``archon eval``, ``archon search`` or ``archon train``, as a tracker sees it."""

    kind: Kind
    name: str
    config: Mapping[str, Any]
    """Parameters of the run: nested plain data."""
    id: str
    """Identifies the run over all of its sessions. A resumed run continues the tracker's run."""


@dataclass(frozen=True, slots=True)
class Point:
    """The values of some metrics at one step."""

    step: int
    metrics: Mapping[str, float]
    seconds: float
    """Time of the measurement in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One finished trial of a search."""

    number: int
    outcome: str
    """See ``archon.study.trials.Outcome``."""
    config: Mapping[str, Any]
    """Parameter → its value in this trial."""
    metrics: Mapping[str, float] = field(default_factory=dict)


class Tracker(Protocol):
    """A tracker of one run. All methods are called in the same thread, ``start`` first.

    A method may take long and may raise any exception; see ``archon.tracking.session``.
    """

    def start(self, run: TrackedRun) -> None:
        """Create the run at the tracker, or continue the run with the same id."""
        ...

    def log(self, points: Sequence[Point]) -> None:
        """Record points, in the order in which they were measured."""
        ...

    def trial(self, trial: Trial) -> None:
        """Record a trial of a search as a run that belongs to this run."""
        ...

    def finish(
        self, status: Status, metrics: Mapping[str, float], report: Mapping[str, Any]
    ) -> None:
        """Record the results, and close the run.

        Parameters
        ----------
        metrics
            The results that are numbers.
        report
            The complete results as plain data; empty if the run failed.
        """
        ...
