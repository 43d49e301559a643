"""Evaluations that are recorded in an experiment tracker (``archon.tracking``)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from archon.errors import ArchonError
from archon.evals import runner
from archon.evals.folder import RunFolder
from archon.evals.report import Report
from archon.evals.run import read_run
from archon.evals.runner import EvalProgress, Evaluation, OnProgress
from archon.tracking.session import TrackerChoice, Tracking
from archon.tracking.tracker import Status, TrackedRun, status_of

_PARAMETERS = (
    "architecture", "benchmark", "split", "scorer", "answer", "models", "seed", "epochs", "limit",
)  # fmt: skip
"""Columns of a report that are known before the run."""
LOG_SECONDS = 1.0
"""Minimum time between two points of the curves, which cost a pass over the records."""


async def evaluate(
    evaluation: Evaluation, folder: RunFolder, track: TrackerChoice | None, **options: Any
) -> Report:
    """Run ``archon.evals.runner.evaluate``, and record it if there is a tracker.

    Parameters
    ----------
    options
        The other arguments of that function.
    """
    if track is None:
        return await runner.evaluate(evaluation, folder, **options)
    recorder = _Recorder(track, folder)
    on_progress = recorder.listener(options.pop("on_progress", None))
    try:
        report = await runner.evaluate(evaluation, folder, on_progress=on_progress, **options)
    except BaseException as error:
        recorder.fail(status_of(error))
        raise
    recorder.finish(report)
    return report


def record_finished(folder: RunFolder, track: TrackerChoice) -> None:
    """Record a run that is already finished."""
    _Recorder(track, folder).finish(read_run(folder.path).report())


class _Recorder:
    """Records one run. The tracker's run is opened at the first answer, when the run has an id."""

    def __init__(self, track: TrackerChoice, folder: RunFolder) -> None:
        self._choice, self._folder = track, folder
        self._tracking: Tracking | None = None
        self._next = 0.0

    def listener(self, inner: OnProgress | None) -> Callable[[EvalProgress], None]:
        """Return a progress listener that also records points."""

        def on_progress(progress: EvalProgress) -> None:
            if inner is not None:
                inner(progress)
            now = time.monotonic()
            if now >= self._next or progress.num_done == progress.num_runs:
                self._next = now + LOG_SECONDS
                self._open().log(progress.num_done, _curves(progress))

        return on_progress

    def finish(self, report: Report) -> None:
        """Record the report."""
        self._close("interrupted" if report.interrupted else "finished", report)

    def fail(self, status: Status) -> None:
        """Close the tracker's run with the results so far, if it was opened."""
        if self._tracking is None:
            return
        with contextlib.suppress(ArchonError):  # the error of the run is more important
            self._close(status, read_run(self._folder.path).report())

    def _close(self, status: Status, report: Report) -> None:
        data = report.to_json()
        metrics = {name: value for name, value in data.items() if name not in _PARAMETERS}
        self._open().finish(status, data, str(self._folder.path), metrics)

    def _open(self) -> Tracking:
        if self._tracking is None:
            run = read_run(self._folder.path)
            report = run.report()
            config = {name: getattr(report, name) for name in _PARAMETERS}
            config["num_items"] = run.description["items"]["count"]
            config["specification"] = run.description["digest"]
            config["folder"] = str(self._folder.path)
            name = f"{report.architecture} on {report.benchmark}"
            tracked = TrackedRun("eval", name, config, run.description["id"])
            self._tracking = Tracking.of(self._choice, tracked)
        return self._tracking


def _curves(progress: EvalProgress) -> dict[str, float]:
    tally = progress.tally
    columns = {
        "accuracy": tally.accuracy,
        "mean_score": tally.mean_score,
        "cost_tokens": tally.mean_cost_tokens,
        "seconds": tally.mean_seconds,
        "num_errors": tally.num_errors,
        "usage/generated_tokens": progress.generated_tokens,
    }
    return {name: float(value) for name, value in columns.items() if value is not None}
