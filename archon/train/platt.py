"""Platt scaling: calibrate probabilities by a slope and a bias for the logits.

Slope and bias are fitted to replies on which the model was not trained (Platt 1999, "Probabilistic
outputs for support vector machines and comparisons to regularized likelihood methods").
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from archon.train.probe import minimize, outcome_loss


def platt_scaling(logit_N: Tensor, correct: Sequence[bool]) -> tuple[float, float]:
    """Fit P(reply is right) = sigmoid(slope · logit + bias) by cross-entropy.

    The targets are not 1 and 0, but (n₊ + 1) / (n₊ + 2) for the n₊ right replies and 1 / (n₋ + 2)
    for the n₋ wrong replies, as in the paper. The slope is therefore finite even if the logits
    separate right from wrong replies perfectly.

    Parameters
    ----------
    logit_N
        Logits of N replies.
    correct
        True for each right reply.

    Returns
    -------
    Slope and bias; (1, 0) if all replies are right, all are wrong, or the fitted slope is not
    positive.
    """
    num_right = sum(correct)
    num_wrong = len(correct) - num_right
    if not num_right or not num_wrong:
        return 1.0, 0.0
    right, wrong = (num_right + 1) / (num_right + 2), 1 / (num_wrong + 2)
    target_N = torch.tensor([right if is_right else wrong for is_right in correct]).double()
    logit_N = logit_N.double()
    scaling_2 = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    minimize(
        lambda: outcome_loss(scaling_2[0] * logit_N + scaling_2[1], target_N),
        [scaling_2], max_iter=100, tolerance_grad=1e-9,
    )  # fmt: skip
    slope, bias = scaling_2.detach().tolist()
    return (slope, bias) if slope > 0 else (1.0, 0.0)
