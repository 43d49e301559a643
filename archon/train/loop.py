"""The loop of gradient steps: AdamW under a cosine schedule with a warm-up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from archon.train.steps import OnStep

LossPart = Callable[[], Tensor]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long training lasts and how large its steps are."""

    num_steps: int
    learning_rate: float = 1e-3
    """The greatest, at the end of the warm-up."""
    warmup_steps: int = 100
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    """Gradients longer than this are shortened to it."""

    def rate(self, step: int) -> float:
        """The learning rate of a step: a straight line up, then half a cosine down to zero."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        rest = max(self.num_steps - self.warmup_steps, 1)
        return self.learning_rate * (1 + math.cos(math.pi * (step - self.warmup_steps) / rest)) / 2


class _Scheduled(Protocol):
    """What configurations say of steps."""

    steps: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    max_gradient_norm: float


def schedule_of(how: _Scheduled, learning_rate: float | None = None) -> Schedule:
    """The schedule that a configuration asks for, or the same with another rate."""
    rate = how.learning_rate if learning_rate is None else learning_rate
    return Schedule(how.steps, rate, how.warmup_steps, how.weight_decay, how.max_gradient_norm)


class Training:
    """A model on its way: its optimizer, and the loss of every step so far, in nats.

    What does not ask for gradients stays as it is.
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
        """Steps that are taken."""
        return len(self.curve)

    @property
    def num_trained(self) -> int:
        """Numbers that are trained."""
        return sum(parameter.numel() for parameter in self._trained.values())

    def step(self, parts: Sequence[LossPart], at: int | None = None) -> float:
        """Take one step against the sum of these losses, computed one after another.

        Parameters
        ----------
        at : the step of the schedule; by default so many as were taken before.
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
        """What is trained, and AdamW's moments of it, by name."""
        found = {f"model.{name}": p.detach() for name, p in self._trained.items()}
        for name, parameter in self._trained.items():
            moments = self._optimizer.state.get(parameter, {})
            found |= {f"{kind}.{name}": moments[kind] for kind in _MOMENTS if moments}
        return {name: tensor.cpu().contiguous() for name, tensor in found.items()}

    def restore(self, state: Mapping[str, Tensor], curve: Sequence[float]) -> None:
        """Go on from a state that was saved after the steps of a curve.

        What never had a gradient has no moments there, and gets none.
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
    on_step: OnStep | None = None,
) -> list[float]:
    """Take the schedule's steps; the model is left ready to run.

    Parameters
    ----------
    losses : for each step, what computes its loss, a mean over the batch.

    Returns
    -------
    The loss of every step, in nats.
    """
    training = Training(model, schedule)
    model.train()
    for step in range(schedule.num_steps):
        loss = training.step([next(losses)])
        if on_step is not None:
            on_step(step, loss)
    model.eval()
    return training.curve
