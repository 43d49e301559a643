"""Gradient steps: AdamW under a cosine schedule with a warm-up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

LossPart = Callable[[], Tensor]
"""Computes a part of a step's loss; the parts are summed, and one at a time is in memory."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Number and size of the steps."""

    num_steps: int
    learning_rate: float = 1e-3
    """The peak, at the end of the warm-up."""
    warmup_steps: int = 100
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    """Longer gradients are scaled down to this norm."""

    def rate(self, step: int) -> float:
        """The learning rate of a step: a linear rise, then half a cosine down to zero."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        rest = max(self.num_steps - self.warmup_steps, 1)
        return self.learning_rate * (1 + math.cos(math.pi * (step - self.warmup_steps) / rest)) / 2


class ScheduleSettings(Protocol):
    """What every configuration says about its steps (``archon.spec.training``)."""

    steps: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    max_gradient_norm: float


class StepSettings(ScheduleSettings, Protocol):
    """The same, with the steps between two saved states."""

    save_every: int


def schedule_of(settings: ScheduleSettings, learning_rate: float | None = None) -> Schedule:
    """The schedule of a configuration, with another peak rate where one is given."""
    return Schedule(
        settings.steps,
        settings.learning_rate if learning_rate is None else learning_rate,
        settings.warmup_steps,
        settings.weight_decay,
        settings.max_gradient_norm,
    )


class Optimization:
    """A model's optimizer, and the loss of every step so far, in nats.

    Only parameters that require gradients are trained.
    """

    def __init__(self, model: nn.Module, schedule: Schedule) -> None:
        self.model, self.schedule = model, schedule
        self.curve: list[float] = []
        self._trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        # Norms and biases are not decayed: their size is no sign of overfitting.
        decayed = [p for p in self._trained.values() if p.dim() > 1]
        others = [p for p in self._trained.values() if p.dim() <= 1]
        groups = [
            {"params": decayed, "weight_decay": schedule.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW([group for group in groups if group["params"]])

    @property
    def num_steps(self) -> int:
        """Steps that have been taken."""
        return len(self.curve)

    @property
    def num_trained(self) -> int:
        """Trained parameters, counted in single numbers."""
        return sum(parameter.numel() for parameter in self._trained.values())

    def step(self, parts: Sequence[LossPart], at: int | None = None) -> float:
        """Take one step on the sum of these losses, computed one after another; returns the sum.

        Parameters
        ----------
        at
            The step of the schedule; by default the number of steps taken.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.num_steps if at is None else at)
        self._optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part in parts:
            loss = part()
            loss.backward()
            total += loss.item()
        nn.utils.clip_grad_norm_(self._trained.values(), self.schedule.max_gradient_norm)
        self._optimizer.step()
        self.curve.append(total)
        return total

    def state(self) -> dict[str, Tensor]:
        """The trained parameters and AdamW's moments of them, by name."""
        found = {f"model.{name}": p.detach() for name, p in self._trained.items()}
        for name, parameter in self._trained.items():
            moments = self._optimizer.state.get(parameter, {})
            found |= {f"{kind}.{name}": moments[kind] for kind in _MOMENTS if moments}
        return {name: tensor.cpu().contiguous() for name, tensor in found.items()}

    def restore(self, state: Mapping[str, Tensor], curve: Sequence[float]) -> None:
        """Continue from a state that was saved after the steps of a curve.

        Parameters that never had a gradient have no moments there, and get none.
        """
        self.curve = list(curve)
        for name, parameter in self._trained.items():
            with torch.no_grad():
                parameter.copy_(state[f"model.{name}"])
            saved = {kind: state.get(f"{kind}.{name}") for kind in _MOMENTS}
            moments = {k: m.to(parameter.device) for k, m in saved.items() if m is not None}
            if moments:
                self._optimizer.state[parameter] = {
                    "step": torch.tensor(float(len(curve))),
                    **moments,
                }


_MOMENTS = ("exp_avg", "exp_avg_sq")


def train(
    model: nn.Module,
    losses: Iterator[LossPart],
    schedule: Schedule,
    on_step: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Take the schedule's steps; the model is left in evaluation mode.

    Parameters
    ----------
    losses
        For each step, what computes its loss, a mean over the batch.
    on_step
        Called with (step, loss) after each step.

    Returns
    -------
    The loss of every step, in nats.
    """
    optimization = Optimization(model, schedule)
    model.train()
    for step in range(schedule.num_steps):
        loss = optimization.step([next(losses)])
        if on_step is not None:
            on_step(step, loss)
    model.eval()
    return optimization.curve
