"""Rotary position embedding, RoPE (Su et al. 2021, arXiv 2104.09864), halves convention.

The i-th channel of the first half and the i-th of the second half of a head form a point in the
plane. RoPE turns it by position · frequency_i, so the product of a query and a key depends on the
distance between them, not on their positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from archon.engine.model.config import DecoderConfig

RopeAngles = tuple[Tensor, Tensor]
"""Cosines and sines by which each position turns each point of a head."""


def rope_frequencies(
    config: DecoderConfig, device: torch.device, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Radians per position of each point of a head, (D / 2,)."""
    channel = torch.arange(0, config.head_width, 2, dtype=dtype, device=device)
    return config.rope_base ** -(channel / config.head_width)


def rope_angles(position_N: Tensor, frequencies: Tensor) -> RopeAngles:
    """Cosines and sines of each position, (N, 1, D / 2) each."""
    angle_ND = position_N.float().unsqueeze(1) * frequencies
    return angle_ND.cos().unsqueeze(1), angle_ND.sin().unsqueeze(1)


def apply_rope(x_NHD: Tensor, angles: RopeAngles) -> Tensor:
    """Turn every head of queries or keys by its position."""
    cos, sin = angles
    first, second = x_NHD.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
