"""Losses of the policy and the value head, for N tokens that the policy sampled.

``new_N`` are the tokens' log-probabilities under the current weights, with gradients. ``old_N`` are
the log-probabilities under the weights at the beginning of the step, and ``reference_N`` under the
weights at the beginning of training. All are in nats.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MAX_LOG_RATIO = 20
"""Upper bound on the log-ratio in the estimate of the divergence, in nats."""


def policy_losses(
    new_N: Tensor, old_N: Tensor, advantage_N: Tensor, clip: float, weight_N: Tensor | None = None
) -> Tensor:
    """Return the negative clipped surrogate objective of PPO for each token, (N,).

    L = −w · min(ρ·A, clamp(ρ, 1 − ε, 1 + ε)·A), where ρ = p_new / p_old and A is the advantage
    (Schulman et al. 2017, arXiv 1707.06347). Outside the clipping range, moving ρ further in the
    direction of the advantage does not lower the loss.

    Parameters
    ----------
    clip
        Half-width ε of the clipping range.
    weight_N
        Weight w of each token (``importance_weights``); 1 by default.
    """
    ratio_N = (new_N - old_N).exp()
    clipped_N = ratio_N.clamp(1 - clip, 1 + clip)
    losses_N = -torch.minimum(ratio_N * advantage_N, clipped_N * advantage_N)
    return losses_N if weight_N is None else weight_N * losses_N


def importance_weights(old_N: Tensor, engine_N: Tensor, cap: float) -> Tensor:
    """Return the truncated importance weight min(p_old / p_engine, cap) of each token, (N,).

    The engine rounds differently from the trainer, so its samples come from a slightly different
    distribution. The weight corrects the gradient for this difference, and the cap limits the
    variance (Ionides 2008, "Truncated Importance Sampling"; for rollout engines, Yao et al. 2025,
    "Your Efficient RL Framework Secretly Brings You Off-Policy RL Training").

    Parameters
    ----------
    engine_N
        Log-probabilities that the engine computed when it sampled the tokens.
    cap
        Upper bound on a weight.
    """
    return (old_N - engine_N).exp().clamp(max=cap)


def kl_estimates(new_N: Tensor, reference_N: Tensor) -> Tensor:
    """Return a non-negative estimate of KL(new ‖ reference) from each token, (N,).

    The estimate is k3 = e^d − d − 1, where d = reference − new. Its mean over tokens sampled by the
    policy is the divergence, with a much smaller variance than the plain estimate −d (Schulman
    2020, "Approximating KL Divergence"). The mean gradient of the estimate is the gradient of the
    opposite divergence, KL(reference ‖ new), which pulls the policy to cover everything that the
    reference covers.

    d is clamped to at most 20, where e^d is 5·10⁸, and has no gradient above this bound. Otherwise,
    a single token that has become very unlikely under the policy could make the loss infinite.
    """
    d_N = (reference_N - new_N).clamp(max=_MAX_LOG_RATIO)
    return d_N.exp() - d_N - 1


def value_losses(value_N: Tensor, old_value_N: Tensor, return_N: Tensor, clip: float) -> Tensor:
    """Return the clipped squared error of each value, (N,).

    L = max((V − R)², (V_clipped − R)²) / 2, where R is the return and V_clipped is the value,
    clamped to a distance of at most ``clip`` from the old value.
    """
    clipped_N = old_value_N + (value_N - old_value_N).clamp(-clip, clip)
    return torch.maximum((value_N - return_N).square(), (clipped_N - return_N).square()) / 2
