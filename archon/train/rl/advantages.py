"""How much better a reply, or a token of it, was than expected."""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST_DEVIATION = 1e-4


def generalised_advantages(
    reward_T: Tensor, value_T: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Advantage of each token, and the return that its value should have been: (T,) both.

    δ_t = r_t + γ·V_{t+1} − V_t and A_t = Σ_k (γλ)^k δ_{t+k}, with nothing to come behind the last
    token, also where a reply was cut short. (GAE: Schulman et al. 2016, arXiv 1506.02438.)

    Parameters
    ----------
    value_T
        What was expected before each token.
    gamma
        What a reward is worth a token earlier.
    lam
        0 trusts the values, 1 the rewards alone.
    """
    backwards: list[float] = []
    following = next_value = 0.0
    pairs = zip(reward_T.tolist(), value_T.tolist(), strict=True)
    for reward, value in reversed(list(pairs)):
        following = reward + gamma * next_value - value + gamma * lam * following
        next_value = value
        backwards.append(following)
    advantage_T = torch.tensor(backwards[::-1], dtype=value_T.dtype, device=value_T.device)
    return advantage_T, advantage_T + value_T


def group_advantages(reward_PG: Tensor, divide_by_deviation: bool = False) -> Tensor:
    """Reward of each of G replies to each of P prompts, less the mean of its group: (P, G).

    That mean is what the prompt promises, so that no value need be learnt (GRPO: Shao et al. 2024,
    arXiv 2402.03300). The reply's own reward is in it: against the others' alone, the difference
    would be G / (G − 1) of this, for every reply alike. Dividing by the group's standard deviation,
    as GRPO does, favours prompts that nearly always or nearly never succeed; it is left out by
    default (Liu et al. 2025, arXiv 2503.20783). A group whose rewards are all equal teaches
    nothing.
    """
    centred_PG = reward_PG - reward_PG.mean(1, keepdim=True)
    # The mean of equal numbers may differ from them in the last bit.
    centred_PG[(reward_PG == reward_PG[:, :1]).all(1)] = 0
    if not divide_by_deviation:
        return centred_PG
    return centred_PG / (reward_PG.std(1, keepdim=True) + _LEAST_DEVIATION)


def whitened(advantage_N: Tensor) -> Tensor:
    """Mean 0 and standard deviation 1 over all tokens of a step: so a rate of learning fits
    rewards of any size."""
    if len(advantage_N) < 2:
        return advantage_N
    if bool((advantage_N == advantage_N[0]).all()):
        return torch.zeros_like(advantage_N)  # their mean may differ from them in the last bit
    return (advantage_N - advantage_N.mean()) / (advantage_N.std() + 1e-8)
