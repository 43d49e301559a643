"""The training loop, which measures the model, takes steps, saves, resumes and stops on Ctrl-C.

Kinds of training differ in their ``Objective`` (``archon.train.objectives``), which defines the
data, the computation of a step, the measurements, and what is saved.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from archon.evals.run import Run
from archon.spec.model import LocalCard
from archon.spec.training import SampledReplies
from archon.tracking.session import TrackerChoice
from archon.train.folder import TrainingFolder
from archon.train.tracked import OnStep, recorded

OnProgress = Callable[[str, int, int], None]
"""Function that receives the progress: (name of the task, amount done, total amount)."""
State = tuple[Mapping[str, Tensor], Any]
"""State of a training run: tensors by name, and JSON data."""


@dataclass(frozen=True, slots=True)
class Start:
    """Everything an objective needs to start a run: folders, a device, and loading functions."""

    base_dir: Path
    """Folder to which paths in the configuration are relative."""
    folder: TrainingFolder
    device: torch.device
    pull_card: Callable[[str], tuple[LocalCard, Path]]
    """Function that loads a model card by its name or path and downloads the weights. It returns
    the card and the card's folder."""
    sample_replies: Callable[[SampledReplies], Run]
    """Function that runs an architecture on a benchmark, in a subfolder of the training folder."""


class Objective(Protocol):
    """One kind of training.

    ``Trainer`` calls ``begin`` or ``restore``, then ``step`` for each remaining step, then ``end``.
    It reads ``state`` and ``curve`` whenever it saves.

    Raises
    ------
    UsageError
        From every method: the data is unsuitable for training, or a loss is not finite.
    """

    num_steps: int
    save_every: int
    """Number of steps between two saved states."""
    data: object
    """Training data and held-out data, in order. Its ``repr`` must contain everything that the
    training run depends on, because it is used to check that the run is resumed with the same
    data."""
    unit: str
    """What a step returns: ``loss`` or ``reward``."""

    @property
    def curve(self) -> Sequence[float]:
        """Loss or reward of each step taken so far."""
        ...

    def begin(self, on_progress: OnProgress) -> Mapping[str, Any]:
        """Measure the model before the first step.

        Returns
        -------
        Entries for the record: facts about the model and the data, and measurements under
        ``before``.
        """
        ...

    def step(self, step: int) -> float:
        """Take one step; return its loss or reward."""
        ...

    def end(self, on_progress: OnProgress) -> Mapping[str, Any]:
        """Measure and save the trained model.

        Returns
        -------
        Entries for the record, with measurements under ``after``.
        """
        ...

    def state(self) -> State:
        """Return everything that ``restore`` needs to resume after the current step."""
        ...

    def restore(self, tensors: Mapping[str, Tensor], progress: Any) -> None:
        """Resume from a saved state."""
        ...


@dataclass
class Trainer:
    """Runs one training run in its folder."""

    objective: Objective
    folder: TrainingFolder
    title: str
    on_progress: OnProgress = lambda what, done, of: None
    track: TrackerChoice | None = None
    """The experiment tracker that records the curve and the measurements."""

    def run(self) -> dict[str, Any]:
        """Take the remaining steps; return the folder's record.

        Raises
        ------
        KeyboardInterrupt
            Ctrl-C was pressed. The current step was completed and the state was saved.
        UsageError
            A loss is not finite. Or the data is unsuitable for training, or differs from the data
            with which the run was started.
        ScoringError, LMError
            A reply cannot be judged.
        StorageError
            The state cannot be written.
        """
        objective, folder, record = self.objective, self.folder, self.folder.record
        folder.check_data(objective.data)
        if "before" not in record:
            record |= objective.begin(self.on_progress)
            folder.write_record()
        elif (saved := folder.read_state()) is not None:
            objective.restore(*saved)
        with recorded(self.track, self.title, folder, objective) as on_step:
            self._take_steps(on_step)
            record |= objective.end(self.on_progress)
            folder.write_record()
        self._draw()
        folder.drop_state()
        return record

    def _take_steps(self, on_step: OnStep) -> None:
        """Take the remaining steps.

        The state is saved every ``save_every`` steps, after the last step, and on Ctrl-C.
        """
        objective, record = self.objective, self.folder.record
        num_taken = len(objective.curve)
        earlier_seconds = record.get("train_seconds", 0.0) if num_taken else 0.0
        started = time.monotonic()
        with delayed_interrupts() as is_interrupted:
            for num_done in range(num_taken + 1, objective.num_steps + 1):
                value = objective.step(num_done - 1)
                title = f"{self.title}, {objective.unit} {value:.4f}"
                self.on_progress(title, num_done, objective.num_steps)
                on_step(num_done, value)
                is_last = num_done == objective.num_steps
                if is_last or is_interrupted() or num_done % objective.save_every == 0:
                    record["train_seconds"] = round(earlier_seconds + time.monotonic() - started, 1)
                    self.folder.save_state(*objective.state())
                    self.folder.write_record()
                    self._draw()
                if is_interrupted():
                    raise KeyboardInterrupt

    def _draw(self) -> None:
        if self.objective.curve:
            self.folder.draw_curve(self.title, self.objective.unit, self.objective.curve)


@contextmanager
def delayed_interrupts() -> Iterator[Callable[[], bool]]:
    """Delay the first Ctrl-C so that the block can save its work; a second Ctrl-C interrupts it.

    Yield a function that returns True once Ctrl-C has been pressed. Only the main thread receives
    signals; in other threads, the function always returns False.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    received: list[int] = []
    previous = signal.getsignal(signal.SIGINT)

    def on_signal(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, on_signal)
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGINT, previous)
