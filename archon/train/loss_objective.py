"""Objectives that minimize a loss, with one AdamW update per step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from archon.errors import UsageError
from archon.spec.training import BaseTrainingSpec
from archon.train.folder import TrainingFolder
from archon.train.optimization import LossPart, Optimization, Schedule, schedule_of
from archon.train.trainer import OnProgress, State


class LossSteps:
    """Steps that minimize a loss.

    Parameters
    ----------
    model
        The model, on the device on which it is trained.
    losses
        Function that maps the number of steps taken to an iterator over the remaining steps. For
        each step, the iterator yields the parts of the step's loss.
    has_dropout
        Whether to train in PyTorch's training mode, which turns dropout on.
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
        self._remaining: Iterator[Sequence[LossPart]] | None = None

    @property
    def curve(self) -> list[float]:
        """The loss of each step taken so far, in nats."""
        return self.optimization.curve

    @property
    def thinned_curve(self) -> list[float]:
        """About fifty losses, at equal intervals of the curve."""
        return [round(loss, 4) for loss in self.curve[:: max(len(self.curve) // 50, 1)]]

    def take(self, step: int) -> float:
        """Take one step; return its loss.

        Raises
        ------
        UsageError
            The loss is not finite.
        """
        if self._remaining is None:
            self._remaining = self._losses(len(self.curve))
            self._model.train(self._has_dropout)
        # Dropout depends only on the step, so a resumed training equals an uninterrupted one.
        torch.manual_seed(self._seed * 1_000_003 + step)
        loss = self.optimization.step(next(self._remaining))
        if not math.isfinite(loss):
            raise UsageError(
                f"the loss of step {step + 1} is {loss}, so training cannot continue; choose a "
                "smaller learning_rate"
            )
        return loss


class LossObjective(ABC):
    """Base class for objectives (``archon.train.trainer.Objective``) that minimize a loss.

    Parameters
    ----------
    model, has_dropout
        See ``LossSteps``.
    data
        See ``Objective.data``.
    """

    unit: str = "loss"

    def __init__(
        self,
        spec: BaseTrainingSpec,
        model: nn.Module,
        data: object,
        folder: TrainingFolder,
        *,
        has_dropout: bool = True,
    ) -> None:
        self.num_steps, self.save_every = spec.steps, spec.save_every
        self.data, self.folder = data, folder
        self._parameters = list(model.parameters())
        self._steps = LossSteps(
            model, schedule_of(spec), spec.seed, self.losses, has_dropout=has_dropout
        )

    @abstractmethod
    def losses(self, num_taken: int) -> Iterator[Sequence[LossPart]]:
        """For each step after the first ``num_taken``, yield the parts of the step's loss."""

    @abstractmethod
    def described(self) -> Mapping[str, Any]:
        """Return record entries that describe the data, such as ``{"texts": 1200}``."""

    @abstractmethod
    def measure(self) -> Mapping[str, Any]:
        """Measure the model on held-out data; called before the first step and after the last.

        Returns
        -------
        Measurements by name; empty if no data is held out.
        """

    @abstractmethod
    def save(self) -> None:
        """Write the trained model and its card to the folder."""

    @property
    def curve(self) -> list[float]:
        """See ``Objective.curve``."""
        return self._steps.curve

    def begin(self, on_progress: OnProgress) -> Mapping[str, Any]:
        """See ``Objective.begin``."""
        return {
            "parameters": sum(p.numel() for p in self._parameters),
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
        last = self.curve[-20:]
        after = self.measure()
        self.save()
        return {
            "last_loss": sum(last) / len(last),
            "loss": self._steps.thinned_curve,
            "after": after,
        }

    def state(self) -> State:
        """See ``Objective.state``."""
        return self._steps.optimization.state(), self.curve

    def restore(self, tensors: Mapping[str, Tensor], progress: Any) -> None:
        """See ``Objective.restore``."""
        self._steps.optimization.restore(tensors, progress)
