"""Training that is recorded in an experiment tracker (``archon.tracking``)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from archon.tracking.session import TrackerChoice, Tracking
from archon.tracking.tracker import TrackedRun, status_of
from archon.train.folder import TrainingFolder

OnStep = Callable[[int, float], None]
"""Called after each step; its arguments are the number of steps so far and the loss or reward."""


class HasCurve(Protocol):
    """The part of ``archon.train.trainer.Objective`` that is recorded."""

    unit: str

    @property
    def curve(self) -> Sequence[float]: ...


@contextmanager
def recorded(
    track: TrackerChoice | None, title: str, folder: TrainingFolder, objective: HasCurve
) -> Iterator[OnStep]:
    """Record the training in the block, if there is a tracker; yield the listener of its steps.

    Steps of earlier sessions are recorded first, so that the tracker has the whole curve.
    """
    if track is None:
        yield lambda step, value: None
        return
    record = folder.record
    identity = record.setdefault("tracking_id", uuid.uuid4().hex)
    folder.write_record()
    config = {**record["spec"], "folder": str(folder.path)}
    tracking = Tracking.of(track, TrackedRun("train", title, config, identity))

    def on_step(step: int, value: float) -> None:
        tracking.log(step, {objective.unit: value})

    for step, value in enumerate(objective.curve, start=1):
        on_step(step, value)
    try:
        yield on_step
    except BaseException as error:
        tracking.finish(status_of(error), {}, str(folder.path))
        raise
    report = {key: value for key, value in record.items() if key != "spec"}
    tracking.finish("finished", report, str(folder.path))
