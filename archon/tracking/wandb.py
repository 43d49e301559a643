"""Weights & Biases: runs in a project; trials are runs in the group of their study.

The server, key and mode are those of ``wandb login`` and of the variables ``WANDB_*``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archon.errors import require
from archon.tracking.tracker import Point, Status, TrackedRun, Trial
from archon.tracking.values import parameters

_START_SECONDS = 20
"""Maximum time to reach the server."""


class WandbTracker:
    """A run in a project of Weights & Biases."""

    def __init__(self, project: str) -> None:
        self._wandb = require("wandb", "wandb")
        self._project, self._group = project, ""
        self._run: Any = None

    def start(self, run: TrackedRun) -> None:
        """See ``Tracker.start``."""
        # A silent package reports a missing key as an error, and does not ask for it.
        self._wandb.setup(self._wandb.Settings(silent=True))
        self._group = run.name
        self._run = self._open(
            name=run.name,
            id=run.id,
            resume="allow",
            job_type=run.kind,
            group=run.name if run.kind == "search" else None,
            config=parameters(run.config),
        )

    def log(self, points: Sequence[Point]) -> None:
        """See ``Tracker.log``."""
        for point in points:
            self._run.log(dict(point.metrics), step=point.step)

    def trial(self, trial: Trial) -> None:
        """See ``Tracker.trial``."""
        name = f"trial {trial.number}"
        config = {**parameters(trial.config), "outcome": trial.outcome}
        own = self._open(name=name, job_type="trial", group=self._group, config=config)
        own.log(dict(trial.metrics))
        own.finish(exit_code=int(trial.outcome == "failed"))
        self._run.log(dict(trial.metrics), step=trial.number)

    def finish(
        self, status: Status, metrics: Mapping[str, float], report: Mapping[str, Any]
    ) -> None:
        """See ``Tracker.finish``."""
        self._run.summary.update(dict(metrics))
        self._run.finish(exit_code=int(status != "finished"))

    def _open(self, **arguments: Any) -> Any:
        settings = self._wandb.Settings(console="off", silent=True, init_timeout=_START_SECONDS)
        return self._wandb.init(
            project=self._project, reinit="create_new", settings=settings, **arguments
        )
