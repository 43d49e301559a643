"""Gradient steps: AdamW with a linear warm-up and a cosine decay of the learning rate.

AdamW: Loshchilov and Hutter 2017, arXiv 1711.05101.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from archon.spec.training import BaseTrainingSpec, RewardLoRASpec

LossPart = Callable[[], Tensor]
"""Function that computes one part of a step's loss. The loss is the sum of the parts. Each part's
gradient is computed before the next part, so that the activations of only one part are in
memory."""
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, slots=True)
class Schedule:
    """Number of steps, learning rate, and other parameters of the optimizer."""

    num_steps: int
    learning_rate: float = 1e-3
    """Peak learning rate, reached at the end of the warm-up."""
    warmup_steps: int = 100
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    """Maximum norm of the gradient; a larger gradient is scaled down to this norm."""

    def rate(self, step: int) -> float:
        """Return a step's learning rate: a linear warm-up, then a cosine decay to zero."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        rest = max(self.num_steps - self.warmup_steps, 1)
        return self.learning_rate * (1 + math.cos(math.pi * (step - self.warmup_steps) / rest)) / 2


def schedule_of(
    spec: BaseTrainingSpec | RewardLoRASpec, learning_rate: float | None = None
) -> Schedule:
    """Return a configuration's schedule; ``learning_rate``, if given, overrides its rate."""
    peak = learning_rate or spec.learning_rate
    return Schedule(spec.steps, peak, spec.warmup_steps, spec.weight_decay, spec.max_gradient_norm)


class Optimization:
    """The optimizer of a model, and the losses of its steps, in nats.

    Only parameters that require gradients are trained.
    """

    def __init__(self, model: nn.Module, schedule: Schedule) -> None:
        self.model, self.schedule = model, schedule
        self.curve: list[float] = []
        self._trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        # Norms and biases have no weight decay: large values are not a sign of overfitting.
        decayed = [p for p in self._trained.values() if p.dim() > 1]
        others = [p for p in self._trained.values() if p.dim() <= 1]
        groups = [
            {"params": decayed, "weight_decay": schedule.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW([group for group in groups if group["params"]])

    @property
    def num_steps(self) -> int:
        """Number of steps taken so far."""
        return len(self.curve)

    @property
    def num_trained(self) -> int:
        """Number of trained parameters (scalars)."""
        return sum(parameter.numel() for parameter in self._trained.values())

    def step(self, parts: Sequence[LossPart], at: int | None = None) -> float:
        """Take one step on a loss, given as parts to add up; return the loss.

        Parameters
        ----------
        at
            Index of the step in the schedule; by default the number of steps taken so far.
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
        """Return the trained parameters and their AdamW moments, by name."""
        found = {f"model.{name}": p.detach() for name, p in self._trained.items()}
        for name, parameter in self._trained.items():
            moments = self._optimizer.state.get(parameter, {})
            found |= {f"{kind}.{name}": moments[kind] for kind in _MOMENTS if moments}
        return {name: tensor.cpu().contiguous() for name, tensor in found.items()}

    def restore(self, state: Mapping[str, Tensor], curve: Sequence[float]) -> None:
        """Resume from a saved state.

        Parameters
        ----------
        state
            Result of ``state``. Parameters that never had a gradient have no moments in it.
        curve
            Loss of each step before the state was saved.
        """
        self.curve = list(curve)
        for name, parameter in self._trained.items():
            with torch.no_grad():
                parameter.copy_(state[f"model.{name}"])
            saved = {kind: state.get(f"{kind}.{name}") for kind in _MOMENTS}
            moments = {k: m.to(parameter.device) for k, m in saved.items() if m is not None}
            if moments:
                step = torch.tensor(float(len(curve)))
                self._optimizer.state[parameter] = {"step": step, **moments}


def train(
    model: nn.Module,
    losses: Iterator[LossPart],
    schedule: Schedule,
    on_step: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Take all steps of a schedule, then put the model into evaluation mode.

    Parameters
    ----------
    losses
        One function per step, which computes the step's loss as a mean over its batch.
    on_step
        Called after each step with its index and loss.

    Returns
    -------
    The loss of each step, in nats.
    """
    optimization = Optimization(model, schedule)
    model.train()
    for step in range(schedule.num_steps):
        loss = optimization.step([next(losses)])
        if on_step is not None:
            on_step(step, loss)
    model.eval()
    return optimization.curve
