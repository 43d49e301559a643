"""A tracker in its thread: it neither slows nor stops the work, and prints nothing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from archon.errors import MissingExtraError, UsageError
from archon.tracking import session
from archon.tracking.session import TrackerChoice, Tracking
from archon.tracking.tracker import Point, Status, TrackedRun, Trial
from archon.tracking.values import MAX_TEXT, numbers, parameters

RUN = TrackedRun("eval", "name", {}, "id")


@pytest.fixture(autouse=True)
def batches_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "BATCH_SECONDS", 0.01)


class Recorder:
    """A tracker that keeps its calls. It fails in the methods that are named."""

    def __init__(self, *fails_in: str, delay: float = 0) -> None:
        self.fails_in, self.delay = fails_in, delay
        self.calls: list[tuple[str, Any]] = []

    def _call(self, name: str, value: Any = None) -> None:
        print("the tracker says hello")
        time.sleep(self.delay)
        self.calls.append((name, value))
        if name in self.fails_in:
            raise ConnectionError("server down")

    def start(self, run: TrackedRun) -> None:
        self._call("start", run)

    def log(self, points: Sequence[Point]) -> None:
        self._call("log", [(point.step, dict(point.metrics)) for point in points])

    def trial(self, trial: Trial) -> None:
        self._call("trial", trial.number)

    def finish(
        self, status: Status, metrics: Mapping[str, float], report: Mapping[str, Any]
    ) -> None:
        self._call("finish", (status, dict(metrics)))


def follow(tracker: Recorder) -> None:
    """Record some points, a trial and the results."""
    tracking = Tracking("the tracker", tracker, RUN)
    for step in range(1, 4):
        tracking.log(step, {"accuracy": step / 4, "unknown": float("nan")})
    tracking.trial(Trial(7, "whole", {}))
    tracking.log(4, {"accuracy": 1.0})
    tracking.finish("finished", {"accuracy": 1.0, "kind": "eval"}, "runs/x")


def test_calls_keep_their_order_and_points_are_joined() -> None:
    tracker = Recorder(delay=0.02)  # while it starts, points and the trial wait
    follow(tracker)
    points = [(step, {"accuracy": step / 4}) for step in range(1, 5)]
    assert tracker.calls == [
        ("start", RUN),
        ("log", points[:3]),
        ("trial", 7),
        ("log", points[3:]),
        ("finish", ("finished", {"accuracy": 1.0})),
    ]


@pytest.mark.parametrize(
    ("fails_in", "calls"),
    [
        (("start",), ["start"]),
        (("log", "trial"), ["start", "log", "trial", "log", "finish"]),
        (("finish",), ["start", "log", "trial", "log", "finish"]),
    ],
)
def test_a_failing_tracker_is_one_warning(
    fails_in: tuple[str, ...], calls: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Recorder(*fails_in, delay=0.02)
    follow(tracker)
    assert [name for name, _ in tracker.calls] == calls
    failure, place = caplog.messages
    assert "ConnectionError: server down" in failure
    assert "runs/x" in place


def test_a_tracker_that_hangs_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(session, "FLUSH_SECONDS", 0.05)
    released = threading.Event()
    tracker = Recorder()
    monkeypatch.setattr(tracker, "start", lambda run: released.wait(10))
    started = time.monotonic()
    follow(tracker)
    assert time.monotonic() - started < 5
    assert "did not answer" in caplog.messages[0]
    released.set()


def test_output_of_a_tracker_is_logged(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tracking = Tracking("the tracker", Recorder(delay=0.02), RUN)
    print("{}")
    tracking.finish("finished", {}, "runs/x")
    print("end")
    assert capsys.readouterr().out == "{}\nend\n"
    assert "the tracker says hello" in caplog.messages


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mlfow", "did you mean 'mlflow'"),
        ("", "choose from mlflow, wandb, trackio"),
        ("wandb:", "has no project"),
    ],
)
def test_invalid_choices(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrackerChoice.parse(text)


def test_a_choice_is_written_as_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrackerChoice, "open", lambda self: Recorder())
    for text in ("mlflow:archon", "wandb:team/project:1"):
        assert str(TrackerChoice.parse(text)) == text


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"archon-inference\[mlflow\]"):
        TrackerChoice.parse("mlflow")


def test_values() -> None:
    long = parameters({"text": "x" * 10_000, "none": None, "nested": {"a:b@c": (1, 2)}})
    assert long == {"text": "x" * (MAX_TEXT - 1) + "…", "none": "none", "nested.a_b_c": "[1, 2]"}
    report = {"accuracy_interval": None, "ok": True, "cost": float("inf"), "select": {"k": 3}}
    assert numbers(report | {"interval": (0, 1)}) == {"select/k": 3.0, "low": 0.0, "high": 1.0}
