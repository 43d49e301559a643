"""Trackio: runs in a local project or a Space; trials are runs in the group of their study.

The place is the one of trackio's variables, such as ``TRACKIO_DIR`` and ``TRACKIO_SPACE_ID``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import Context
from typing import Any

from archon.errors import require
from archon.tracking.tracker import Point, Status, TrackedRun, Trial
from archon.tracking.values import parameters


class TrackioTracker:
    """A run in a project of trackio."""

    def __init__(self, project: str) -> None:
        self._trackio = require("trackio", "trackio")
        self._project, self._name = project, ""
        self._run: Any = None

    def start(self, run: TrackedRun) -> None:
        """See ``Tracker.start``. Trackio finds a run to continue by its name."""
        self._name = run.name if run.id == run.name else f"{run.name}-{run.id[:8]}"
        config = {**parameters(run.config), "kind": run.kind}
        group = run.name if run.kind == "search" else None
        self._run = self._open(name=self._name, group=group, config=config, resume="allow")

    def log(self, points: Sequence[Point]) -> None:
        """See ``Tracker.log``."""
        for point in points:
            self._run.log(dict(point.metrics), step=point.step)

    def trial(self, trial: Trial) -> None:
        """See ``Tracker.trial``."""
        name = f"{self._name}-trial-{trial.number}"
        config = {**parameters(trial.config), "outcome": trial.outcome}
        own = self._open(name=name, group=self._name, config=config)
        own.log(dict(trial.metrics), step=0)
        own.finish()
        self._run.log(dict(trial.metrics), step=trial.number)

    def finish(
        self, status: Status, metrics: Mapping[str, float], report: Mapping[str, Any]
    ) -> None:
        """See ``Tracker.finish``. The results are metrics ``final/...`` of one more step."""
        final = {f"final/{name}": value for name, value in metrics.items()}
        self._run.log(final | {"final/is_finished": float(status == "finished")})
        self._run.finish()

    def _open(self, **arguments: Any) -> Any:
        # Trackio ends the current run of the context when it starts another one.
        return Context().run(
            self._trackio.init,
            self._project,
            auto_log_gpu=False,
            auto_log_cpu=False,
            embed=False,
            **arguments,
        )
