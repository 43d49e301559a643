"""The loop of gradient steps: AdamW under a cosine schedule with a warm-up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

OnStep = Callable[[int, float], None]
"""(step, its loss), after each step."""


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


def train(
    model: nn.Module,
    losses: Iterator[Callable[[], Tensor]],
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
    # Norms and biases are not decayed: their size is no sign of overfitting.
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": schedule.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
    )
    model.train()
    curve: list[float] = []
    for step in range(schedule.num_steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        optimizer.zero_grad(set_to_none=True)
        loss = next(losses)()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), schedule.max_gradient_norm)
        optimizer.step()
        curve.append(loss.item())
        if on_step is not None:
            on_step(step, curve[-1])
    model.eval()
    return curve
