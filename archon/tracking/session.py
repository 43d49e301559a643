"""A tracker in its own thread, whose failures are warnings."""

from __future__ import annotations

import contextlib
import functools
import importlib
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archon.errors import UsageError
from archon.spec.messages import shown, suggestion
from archon.tracking.quiet import quiet_thread
from archon.tracking.tracker import Point, Status, TrackedRun, Tracker, Trial
from archon.tracking.values import numbers

_log = logging.getLogger("archon")

TRACKERS = {
    "mlflow": "archon.tracking.mlflow:MlflowTracker",
    "wandb": "archon.tracking.wandb:WandbTracker",
    "trackio": "archon.tracking.trackio:TrackioTracker",
}
"""Name in ``--track`` → class of the tracker, which is called with the project's name."""
DEFAULT_PROJECT = "archon"
BATCH_SECONDS = 1.0
"""Minimum time between two groups of calls, so that many points become one call."""
FLUSH_SECONDS = 60.0
"""Maximum time that a finished run waits for its tracker."""


@dataclass(frozen=True, slots=True)
class TrackerChoice:
    """A tracker and a project in it, as named by ``--track``."""

    name: str
    project: str

    @classmethod
    def parse(cls, text: str) -> TrackerChoice:
        """Parse ``mlflow``, ``wandb:PROJECT`` and the like, and import the tracker's package.

        Raises
        ------
        UsageError
            There is no such tracker, or the project's name is empty.
        MissingExtraError
            The tracker's package is not installed.
        """
        name, separator, project = text.partition(":")
        if name not in TRACKERS:
            hint = suggestion(name, sorted(TRACKERS))
            known = ", ".join(TRACKERS)
            raise UsageError(f"there is no tracker {shown(name)}{hint}; choose from {known}")
        if separator and not project.strip():
            raise UsageError(f"--track {text} has no project; write {name} or {name}:PROJECT")
        choice = cls(name, project.strip() or DEFAULT_PROJECT)
        choice.open()
        return choice

    def __str__(self) -> str:
        """Return the text from which ``parse`` makes this choice; stored commands have it."""
        return f"{self.name}:{self.project}"

    def open(self) -> Tracker:
        """Return a new tracker. This does not contact its server."""
        module, _, attribute = TRACKERS[self.name].partition(":")
        tracker: Tracker = getattr(importlib.import_module(module), attribute)(self.project)
        return tracker


class Tracking:
    """Records one run. Every method returns at once, and none raises an error of the tracker."""

    def __init__(self, title: str, tracker: Tracker, run: TrackedRun) -> None:
        self._title, self._tracker, self._run = title, tracker, run
        self._queue: queue.SimpleQueue[Point | Callable[[], None]] = queue.SimpleQueue()
        self._has_warned = False
        self._is_ending, self._done = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="archon-tracker", daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, choice: TrackerChoice, run: TrackedRun) -> Tracking:
        """Start to record a run in the chosen tracker."""
        return cls(f"the tracker {choice.name}", choice.open(), run)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record metrics at a step; values that are not finite are left out."""
        self._queue.put(Point(step, numbers(metrics), time.time()))

    def trial(self, trial: Trial) -> None:
        """Record a finished trial of a search."""
        self._queue.put(lambda: self._tracker.trial(trial))

    def finish(
        self,
        status: Status,
        report: Mapping[str, Any],
        place: str,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        """Record the results, and wait until everything is recorded or ``FLUSH_SECONDS`` pass.

        Parameters
        ----------
        place
            Where the results are stored, for the warning if the tracker does not have them.
        metrics
            The part of the report whose numbers become metrics; None for all of it.
        """

        results = numbers(report if metrics is None else metrics)

        def close() -> None:
            self._tracker.finish(status, results, report)

        self._queue.put(close)
        self._queue.put(self._done.set)
        self._is_ending.set()
        if not self._done.wait(FLUSH_SECONDS):
            self._warn(f"it did not answer within {FLUSH_SECONDS:g} s")
        if self._has_warned:
            _log.warning("%s may lack results; all of them are in %s", self._title, place)

    def _work(self) -> None:
        with quiet_thread():
            self._attempt(lambda: self._tracker.start(self._run))
            is_open = not self._has_warned
            while not self._done.is_set():
                waiting = [self._queue.get()]
                with contextlib.suppress(queue.Empty):
                    while True:
                        waiting.append(self._queue.get_nowait())
                if is_open:
                    self._record(waiting)
                elif self._is_ending.is_set():
                    break
                self._is_ending.wait(BATCH_SECONDS)
            self._done.set()

    def _record(self, waiting: Sequence[Point | Callable[[], None]]) -> None:
        """Record points that follow one another with one call, and make the other calls."""
        for _, group in itertools.groupby(waiting, lambda entry: isinstance(entry, Point)):
            entries = list(group)
            points = [entry for entry in entries if isinstance(entry, Point)]
            if points:
                self._attempt(functools.partial(self._tracker.log, points))
            for entry in entries:
                if not isinstance(entry, Point):
                    self._attempt(entry)

    def _attempt(self, call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:  # some packages raise SystemExit
            self._warn(f"{type(error).__name__}: {error}")

    def _warn(self, reason: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            _log.warning("%s failed, and the work continues without it: %s", self._title, reason)
