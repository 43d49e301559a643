"""Relative positions: a learned attention bias that depends on the distance between two tokens.

Distances are grouped into buckets. Each short distance has its own bucket. The widths of the other
buckets grow exponentially with the distance, and all distances above a maximum share the last one.
Each head learns one number per bucket (Raffel et al. 2020, arXiv 1910.10683, section 2.1).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class RelativePositions(nn.Module):
    """The bias that all layers of a stack add to their attention scores.

    Parameters
    ----------
    num_buckets, max_distance
        See ``archon.engine.encoders.config.EncoderDecoderConfig``.
    two_sided
        Whether half of the buckets are for keys after the query, which a decoder does not read.
    """

    def __init__(
        self, num_buckets: int, max_distance: int, num_heads: int, *, two_sided: bool
    ) -> None:
        super().__init__()
        self.num_buckets, self.max_distance, self.two_sided = num_buckets, max_distance, two_sided
        self.bias = nn.Embedding(num_buckets, num_heads)

    def forward(self, query_T: Tensor, key_S: Tensor) -> Tensor:
        """Return the bias, (1, H, T, S), for these positions of queries and keys, in tokens."""
        distance_TS = key_S[None, :] - query_T[:, None]
        bias_TSH = self.bias(self.bucket(distance_TS))
        return bias_TSH.permute(2, 0, 1)[None]

    def bucket(self, distance: Tensor) -> Tensor:
        """Return the bucket of each distance (key position − query position)."""
        num_buckets = self.num_buckets
        first = torch.zeros_like(distance)
        if self.two_sided:
            num_buckets //= 2
            first = (distance > 0).long() * num_buckets
            length = distance.abs()
        else:
            length = (-distance).clamp(min=0)
        num_exact = num_buckets // 2  # distances 0 … num_exact - 1 have their own buckets
        growth = (length.clamp(min=1).float() / num_exact).log() / math.log(
            self.max_distance / num_exact
        )
        shared = num_exact + (growth * (num_buckets - num_exact)).long()
        return first + torch.where(length < num_exact, length, shared.clamp(max=num_buckets - 1))
