"""Relative positions by buckets: how far apart two tokens are, learnt as a bias of attention.

Near distances each have a bucket of their own, farther ones share buckets whose widths grow
logarithmically, and all beyond a greatest distance share the last (Raffel et al. 2020, arXiv
1910.10683, section 2.1). Every head learns one number for each bucket.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class RelativePositions(nn.Module):
    """The bias that every layer of a stack adds to its scores.

    Parameters
    ----------
    two_sided
        Whether keys to the right of a query are told from those to its left; a decoder sees none to
        the right.
    """

    def __init__(
        self, num_buckets: int, max_distance: int, num_heads: int, *, two_sided: bool
    ) -> None:
        super().__init__()
        self.num_buckets, self.max_distance, self.two_sided = num_buckets, max_distance, two_sided
        self.bias = nn.Embedding(num_buckets, num_heads)

    def forward(self, query_T: Tensor, key_S: Tensor) -> Tensor:
        """Positions of queries and of keys, in tokens → (1, H, T, S)."""
        distance_TS = key_S[None, :] - query_T[:, None]
        bias_TSH = self.bias(self.bucket(distance_TS))
        return bias_TSH.permute(2, 0, 1)[None]

    def bucket(self, distance: Tensor) -> Tensor:
        """The bucket of key position − query position, elementwise."""
        num_buckets = self.num_buckets
        first = torch.zeros_like(distance)
        if self.two_sided:
            num_buckets //= 2
            first = (distance > 0).long() * num_buckets
            away = distance.abs()
        else:
            away = (-distance).clamp(min=0)
        num_exact = num_buckets // 2
        # Logarithms of the distances that have a bucket of their own are not used.
        growth = (away.clamp(min=1).float() / num_exact).log() / math.log(
            self.max_distance / num_exact
        )
        shared = num_exact + (growth * (num_buckets - num_exact)).long()
        return first + torch.where(away < num_exact, away, shared.clamp(max=num_buckets - 1))
