"""One training from its first step to its last: measured, saved, resumed, interrupted.

``Trainer`` is the only loop. What differs between kinds of training is an ``Objective``
(``archon.train.objectives``): what is learned from, what a step does, what is measured and saved.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from archon.evals.run import Run
from archon.spec.model import LocalCard
from archon.spec.training import SampledReplies
from archon.train.folder import TrainingFolder

OnProgress = Callable[[str, int, int], None]
"""(what is being done, how much of it is done, how much there is), now and then."""
State = tuple[Mapping[str, Tensor], Any]
"""Where a training stands: tensors by name, and plain data."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a training starts from, besides its configuration."""

    base_dir: Path
    """Where relative paths in the configuration start."""
    folder: TrainingFolder
    device: torch.device
    pull_card: Callable[[str], tuple[LocalCard, Path]]
    """The card that the configuration names, its weights downloaded, and the card's folder."""
    sample_replies: Callable[[SampledReplies], Run]
    """Runs an architecture on a benchmark, in a folder inside the training's own."""


class Objective(Protocol):
    """What one kind of training learns by.

    ``Trainer`` calls ``begin`` or ``restore``, then ``step`` for each step that is left, then
    ``end``; ``state`` and ``draw`` whenever it saves.

    Raises
    ------
    UsageError
        From every method: the data cannot be learned from, or a loss is not finite.
    """

    num_steps: int
    save_every: int
    """Steps between two saved states."""
    data: object
    """What is learned from and held out, in order, with a ``repr`` that shows all that counts: a
    training is never resumed with other data."""
    unit: str
    """What a step returns: ``loss`` or ``reward``."""

    @property
    def num_taken(self) -> int:
        """Steps that have been taken."""
        ...

    def begin(self, on_progress: OnProgress) -> Mapping[str, Any]:
        """Measure the model before the first step; returns what is recorded of model and data,
        the measurement as ``before``."""
        ...

    def step(self, step: int) -> float:
        """Take one step; returns its loss or reward."""
        ...

    def end(self, on_progress: OnProgress) -> Mapping[str, Any]:
        """Measure and save the trained model; returns what is recorded, the measurement as
        ``after``."""
        ...

    def state(self) -> State:
        """Everything that ``restore`` needs to continue from here."""
        ...

    def restore(self, tensors: Mapping[str, Tensor], progress: Any) -> None:
        """Continue from a state that was saved."""
        ...

    def draw(self) -> None:
        """Write the picture of the steps into the folder."""
        ...


@dataclass
class Trainer:
    """One training in its folder."""

    objective: Objective
    folder: TrainingFolder
    title: str
    on_progress: OnProgress = lambda what, done, of: None

    def run(self) -> dict[str, Any]:
        """Take the steps that are left; returns the folder's record.

        Raises
        ------
        KeyboardInterrupt
            After the step that was under way; the state is saved.
        UsageError
            A loss is not finite, the data cannot be learned from, or they are not the data that the
            training began with.
        ScoringError, LMError
            A reply cannot be judged.
        StorageError
            The disk does not take the state.
        """
        objective, folder, record = self.objective, self.folder, self.folder.record
        folder.keep_data(objective.data)
        if "before" not in record:
            record |= objective.begin(self.on_progress)
            folder.write_record()
        elif (saved := folder.read_state()) is not None:
            objective.restore(*saved)
        self._take_steps()
        record |= objective.end(self.on_progress)
        folder.write_record()
        objective.draw()
        folder.drop_state()
        return record

    def _take_steps(self) -> None:
        """Take the steps that are left, saving now and then, after the last, and on Ctrl-C."""
        objective, record = self.objective, self.folder.record
        taken = objective.num_taken
        started, before = time.monotonic(), record.get("train_seconds", 0.0) if taken else 0.0
        with delayed_interrupts() as is_interrupted:
            for step in range(taken, objective.num_steps):
                value = objective.step(step)
                self._report(step + 1, value)
                is_last = step + 1 == objective.num_steps
                if is_last or is_interrupted() or (step + 1) % objective.save_every == 0:
                    record["train_seconds"] = round(before + time.monotonic() - started, 1)
                    self.folder.save_state(*objective.state())
                    self.folder.write_record()
                    objective.draw()
                if is_interrupted():
                    raise KeyboardInterrupt

    def _report(self, num_taken: int, value: float) -> None:
        what = f"{self.title}, {self.objective.unit} {value:.4f}"
        self.on_progress(what, num_taken, self.objective.num_steps)


@contextmanager
def delayed_interrupts() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C wait until the work under way is saved; a second Ctrl-C interrupts at once.

    Yields a function that tells whether Ctrl-C was pressed. Outside the main thread, where signals
    do not arrive, it always returns False.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    received: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: object) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGINT, before)
