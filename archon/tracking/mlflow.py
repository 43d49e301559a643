"""MLflow: runs in an experiment; trials are nested runs.

The store is the one of ``MLFLOW_TRACKING_URI``, or MLflow's default.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from archon.errors import require
from archon.tracking.tracker import Point, Status, TrackedRun, Trial
from archon.tracking.values import parameters

_MAX_METRICS, _MAX_PARAMETERS = 1000, 100
"""Limits of one request to MLflow."""
_STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
_ID = "archon.id"
_FAIL_SOON = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Defaults for users who have set neither: MLflow's own keep a dead server for many minutes."""


class MlflowTracker:
    """A run in the experiment named like the project."""

    def __init__(self, project: str) -> None:
        self._mlflow = require("mlflow", "mlflow")
        self._project = project
        self._run_id, self._last_step = "", 0

    def start(self, run: TrackedRun) -> None:
        """See ``Tracker.start``."""
        for name, value in _FAIL_SOON.items():
            os.environ.setdefault(name, value)
        for logger in ("mlflow", "alembic"):  # they report the creation of tables
            logging.getLogger(logger).setLevel(logging.ERROR)
        self._client = self._mlflow.MlflowClient()
        self._experiment = self._experiment_id()
        query = f"tags.`{_ID}` = '{run.id}'"
        found = self._client.search_runs([self._experiment], query, max_results=1)
        known: Mapping[str, str] = {}
        if found:
            self._run_id, known = found[0].info.run_id, found[0].data.params
            self._client.update_run(self._run_id, "RUNNING")
        else:
            self._run_id = self._new_run(run.name, {_ID: run.id, "archon.kind": run.kind})
        given = parameters(run.config)  # a parameter cannot be changed
        self._log_parameters(self._run_id, {n: v for n, v in given.items() if n not in known})

    def log(self, points: Sequence[Point]) -> None:
        """See ``Tracker.log``."""
        self._log_metrics(self._run_id, points)
        self._last_step = max(self._last_step, points[-1].step)

    def trial(self, trial: Trial) -> None:
        """See ``Tracker.trial``."""
        tags = {"mlflow.parentRunId": self._run_id, "archon.outcome": trial.outcome}
        nested = self._new_run(f"trial {trial.number}", tags)
        self._log_parameters(nested, parameters(trial.config))
        point = Point(trial.number, trial.metrics, time.time())
        for run_id in (nested, self._run_id):
            self._log_metrics(run_id, [point])
        self._client.set_terminated(nested, "FAILED" if trial.outcome == "failed" else "FINISHED")

    def finish(
        self, status: Status, metrics: Mapping[str, float], report: Mapping[str, Any]
    ) -> None:
        """See ``Tracker.finish``. MLflow shows the values of the last step as the results."""
        try:
            self._log_metrics(self._run_id, [Point(self._last_step, metrics, time.time())])
            if report:
                self._client.log_dict(self._run_id, dict(report), "report.json")
        finally:
            self._client.set_terminated(self._run_id, _STATUS[status])

    def _experiment_id(self) -> str:
        experiment = self._client.get_experiment_by_name(self._project)
        if experiment is None:
            return str(self._client.create_experiment(self._project))
        return str(experiment.experiment_id)

    def _new_run(self, name: str, tags: Mapping[str, str]) -> str:
        run = self._client.create_run(self._experiment, run_name=name, tags=dict(tags))
        return str(run.info.run_id)

    def _log_parameters(self, run_id: str, given: Mapping[str, Any]) -> None:
        make = self._mlflow.entities.Param
        entries = [make(name, str(value)) for name, value in given.items()]
        for start in range(0, len(entries), _MAX_PARAMETERS):
            self._client.log_batch(run_id, params=entries[start : start + _MAX_PARAMETERS])

    def _log_metrics(self, run_id: str, points: Sequence[Point]) -> None:
        make = self._mlflow.entities.Metric
        entries = [
            make(name, value, int(point.seconds * 1000), point.step)
            for point in points
            for name, value in point.metrics.items()
        ]
        for start in range(0, len(entries), _MAX_METRICS):
            self._client.log_batch(run_id, metrics=entries[start : start + _MAX_METRICS])
