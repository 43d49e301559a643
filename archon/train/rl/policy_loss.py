"""Losses of policy and value head, for N tokens that the policy sampled.

``new`` are log-probabilities under the current weights, with gradients; ``old`` those under the
weights at the beginning of the step, ``reference`` those at the beginning of the training.
"""

from __future__ import annotations

import torch
from torch import Tensor

_FURTHEST = 20
"""Nats that a token's estimate of the divergence counts at most."""


def policy_losses(
    new_N: Tensor, old_N: Tensor, advantage_N: Tensor, clip: float, weight_N: Tensor | None = None
) -> Tensor:
    """PPO's clipped surrogate, of which more is better, with its sign turned: (N,).

    −min(ρ·A, clamp(ρ, 1 − ε, 1 + ε)·A) with ρ = new / old probability: a token gains nothing from
    becoming likelier, or less likely, than the step allows. (Schulman et al. 2017, arXiv
    1707.06347.)

    Parameters
    ----------
    weight_N
        Of each token (``importance_weights``); 1 by default.
    """
    ratio_N = (new_N - old_N).exp()
    clipped_N = ratio_N.clamp(1 - clip, 1 + clip)
    losses_N = -torch.minimum(ratio_N * advantage_N, clipped_N * advantage_N)
    return losses_N if weight_N is None else weight_N * losses_N


def importance_weights(old_N: Tensor, engine_N: Tensor, cap: float) -> Tensor:
    """min(old / engine probability, cap): what the trainer makes of tokens that an engine drew.

    The engine rounds where the trainer does not, so that it draws from a slightly other
    distribution. Without the weight the gradient would be that of no policy at all; the cap keeps
    its variance finite (Ionides 2008; for rollout engines Yao et al. 2025).
    """
    return (old_N - engine_N).exp().clamp(max=cap)


def kl_estimates(new_N: Tensor, reference_N: Tensor) -> Tensor:
    """Estimates of KL(new ‖ reference) from single tokens, none below 0: (N,).

    e^d − d − 1 with d = reference − new: the mean over the policy's own tokens is the divergence,
    and it varies far less than that of −d (Schulman 2020, "Approximating KL Divergence", k3). As a
    term of a loss its gradient draws the policy towards covering what the reference does.

    d counts for 20 at most, e^20 being 5·10⁸: one token that the policy has all but given up would
    make the whole loss infinite. It has no gradient beyond that.
    """
    d_N = (reference_N - new_N).clamp(max=_FURTHEST)
    return d_N.exp() - d_N - 1


def value_losses(value_N: Tensor, old_value_N: Tensor, return_N: Tensor, clip: float) -> Tensor:
    """Half the squared error of each value, or of the value clipped to within ``clip`` of the old
    one where that is worse: (N,)."""
    clipped_N = old_value_N + (value_N - old_value_N).clamp(-clip, clip)
    return torch.maximum((value_N - return_N).square(), (clipped_N - return_N).square()) / 2
