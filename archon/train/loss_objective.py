"""Objectives that minimize a loss: one update of AdamW per step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from archon.errors import UsageError
from archon.train.folder import TrainingFolder
from archon.train.optimization import LossPart, Optimization, Schedule, StepSettings, schedule_of
from archon.train.trainer import OnProgress, State


class LossSteps:
    """Steps that minimize a loss.

    Parameters
    ----------
    model
        On the device that it learns on.
    losses
        Number of steps taken → for each step that is left, what computes the parts of its loss.
    has_dropout
        Whether the model learns in training mode, with dropout.
    """

    def __init__(
        self,
        model: nn.Module,
        schedule: Schedule,
        seed: int,
        losses: Callable[[int], Iterator[Sequence[LossPart]]],
        *,
        has_dropout: bool = True,
    ) -> None:
        self.optimization = Optimization(model, schedule)
        self._model, self._seed, self._has_dropout = model, seed, has_dropout
        self._losses = losses
        self._left: Iterator[Sequence[LossPart]] | None = None

    @property
    def curve(self) -> list[float]:
        """The loss of each step that was taken, in nats."""
        return self.optimization.curve

    @property
    def thinned_curve(self) -> list[float]:
        """About fifty losses, evenly spaced over the curve."""
        return [round(loss, 4) for loss in self.curve[:: max(len(self.curve) // 50, 1)]]

    def take(self, step: int) -> float:
        """Take one step; returns its loss.

        Raises
        ------
        UsageError
            The loss is not finite.
        """
        if self._left is None:
            self._left = self._losses(len(self.curve))
            self._model.train(self._has_dropout)
        # Dropout depends on the step alone, so that a resumed training continues as it would have.
        torch.manual_seed(self._seed * 1_000_003 + step)
        loss = self.optimization.step(next(self._left))
        if not math.isfinite(loss):
            raise UsageError(
                f"the loss of step {step + 1} is not a finite number; a smaller learning_rate helps"
            )
        return loss


class LossObjective(ABC):
    """An ``archon.train.trainer.Objective`` that minimizes a loss over given data.

    Parameters
    ----------
    model, seed, has_dropout
        See ``LossSteps``.
    data
        See ``Objective.data``.
    """

    unit: str = "loss"

    def __init__(
        self,
        settings: StepSettings,
        seed: int,
        model: nn.Module,
        data: object,
        folder: TrainingFolder,
        *,
        has_dropout: bool = True,
    ) -> None:
        self.num_steps, self.save_every = settings.steps, settings.save_every
        self.data, self.folder = data, folder
        self._learner = model
        self._steps = LossSteps(
            model, schedule_of(settings), seed, self.losses, has_dropout=has_dropout
        )

    @abstractmethod
    def losses(self, num_taken: int) -> Iterator[Sequence[LossPart]]:
        """For each step that is left, what computes the parts of its loss."""

    @abstractmethod
    def described(self) -> Mapping[str, Any]:
        """What is recorded of the data before the first step."""

    @abstractmethod
    def measure(self) -> Mapping[str, Any]:
        """What is recorded of the model before the first step and after the last."""

    @abstractmethod
    def save(self) -> None:
        """Write the trained model, and its card, into the folder."""

    @property
    def num_taken(self) -> int:
        """See ``Objective.num_taken``."""
        return len(self._steps.curve)

    def begin(self, on_progress: OnProgress) -> Mapping[str, Any]:
        """See ``Objective.begin``."""
        return {
            "parameters": sum(p.numel() for p in self._learner.parameters()),
            "trained_parameters": self._steps.optimization.num_trained,
            **self.described(),
            "train_seconds": 0.0,
            "before": self.measure(),
        }

    def step(self, step: int) -> float:
        """See ``Objective.step``."""
        return self._steps.take(step)

    def end(self, on_progress: OnProgress) -> Mapping[str, Any]:
        """See ``Objective.end``."""
        last = self._steps.curve[-20:]
        after = self.measure()
        self.save()
        return {
            "last_loss": sum(last) / len(last),
            "loss": self._steps.thinned_curve,
            "after": after,
        }

    def state(self) -> State:
        """See ``Objective.state``."""
        return self._steps.optimization.state(), self._steps.curve

    def restore(self, tensors: Mapping[str, Tensor], progress: Any) -> None:
        """See ``Objective.restore``."""
        self._steps.optimization.restore(tensors, progress)

    def draw(self) -> None:
        """See ``Objective.draw``."""
        self.folder.draw_losses(self.folder.record["spec"]["name"], self._steps.curve)
