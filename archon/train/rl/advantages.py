"""Compute advantages, which measure how much better than expected a reply or token was.

Shape suffixes: T tokens of a reply, P prompts, G replies to each, N tokens of a step.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MIN_DEVIATION = 1e-4


def generalised_advantages(
    reward_T: Tensor, value_T: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Return the advantage A and the return R of each token, (T,) each.

    Generalised advantage estimation (GAE: Schulman et al. 2016, arXiv 1506.02438) with rewards r
    and values V::

        δ_t = r_t + γ·V_{t+1} − V_t
        A_t = Σ_k (γλ)^k · δ_{t+k}
        R_t = A_t + V_t

    The value after the last token is 0, even if the reply was truncated.

    Parameters
    ----------
    reward_T
        Reward of each token.
    value_T
        Expected return before each token, as the value head computed it.
    gamma
        Discount factor γ per token.
    lam
        λ in [0, 1]. With smaller values, advantages rely more on the value head. This reduces their
        variance but adds bias.
    """
    reversed_advantages: list[float] = []
    advantage = next_value = 0.0
    pairs = zip(reward_T.tolist(), value_T.tolist(), strict=True)
    for reward, value in reversed(list(pairs)):
        advantage = reward + gamma * next_value - value + gamma * lam * advantage
        next_value = value
        reversed_advantages.append(advantage)
    advantage_T = torch.tensor(
        reversed_advantages[::-1], dtype=value_T.dtype, device=value_T.device
    )
    return advantage_T, advantage_T + value_T


def group_advantages(reward_PG: Tensor, divide_by_deviation: bool = False) -> Tensor:
    """Return each reward minus the mean of its group, (P, G).

    The group's mean estimates the expected reward of the prompt, so no value head is needed (GRPO:
    Shao et al. 2024, arXiv 2402.03300). The mean includes the reply's own reward; without it, all
    advantages would be larger by the same factor G / (G − 1). If all rewards of a group are equal,
    its advantages are 0.

    Parameters
    ----------
    reward_PG
        Reward of each reply.
    divide_by_deviation
        Whether to divide by the group's standard deviation, as the GRPO paper does. This puts more
        weight on prompts whose replies are nearly all right or nearly all wrong (Liu et al. 2025,
        arXiv 2503.20783).
    """
    centred_PG = reward_PG - reward_PG.mean(1, keepdim=True)
    # The computed mean of equal numbers may differ from them in the last bit.
    centred_PG[(reward_PG == reward_PG[:, :1]).all(1)] = 0
    if not divide_by_deviation:
        return centred_PG
    return centred_PG / (reward_PG.std(1, keepdim=True) + _MIN_DEVIATION)


def whitened(advantage_N: Tensor) -> Tensor:
    """Return the advantages, (N,), scaled to mean 0 and standard deviation 1 over all tokens.

    This makes the learning rate independent of the scale of the rewards.
    """
    if len(advantage_N) < 2:
        return advantage_N
    if bool((advantage_N == advantage_N[0]).all()):
        return torch.zeros_like(advantage_N)  # see ``group_advantages``
    return (advantage_N - advantage_N.mean()) / (advantage_N.std() + 1e-8)
