"""From logits to probabilities that come true (Platt 1999, "Probabilistic outputs for support
vector machines"): a slope and a bias, fitted to replies that nothing else was learnt from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from archon.train.probe import outcome_loss


def platt_scaling(logit_N: Tensor, correct: Sequence[bool]) -> tuple[float, float]:
    """Slope and bias: sigmoid(slope · logit + bias) is how likely a reply is right.

    Its targets are those of the paper, a little inside of 0 and 1, so that the slope is finite
    where the logits part right from wrong. Slope 1 and bias 0 where nothing can be told: all are
    right, or all wrong, or the right ones have the lower logits.

    Parameters
    ----------
    logit_N
        Of N replies.
    """
    num_right = sum(correct)
    num_wrong = len(correct) - num_right
    if not num_right or not num_wrong:
        return 1.0, 0.0
    right, wrong = (num_right + 1) / (num_right + 2), 1 / (num_wrong + 2)
    target_N = torch.tensor([right if is_right else wrong for is_right in correct]).double()
    logit_N = logit_N.double()
    scaling_2 = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [scaling_2], max_iter=100, tolerance_grad=1e-9, tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = outcome_loss(scaling_2[0] * logit_N + scaling_2[1], target_N)
        loss.backward()
        return loss

    optimizer.step(closure)
    slope, bias = scaling_2.detach().tolist()
    return (slope, bias) if slope > 0 else (1.0, 0.0)
