"""Rotary position embedding, RoPE (Su et al. 2021, arXiv 2104.09864), in the "halves" convention.

Channel i of the first half of a head and channel i of the second half are the coordinates of a
point in the plane. RoPE rotates the point by the angle position · frequency_i. So the positions of
a query and a key affect their dot product only through the distance between them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from archon.engine.model.config import DecoderConfig

RopeAngles = tuple[Tensor, Tensor]
"""Cosines and sines of the angle of each position and each point of a head, (N, 1, D / 2) each."""


def rope_frequencies(
    config: DecoderConfig, device: torch.device, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return the frequency of each point of a head, in radians per position: (D / 2,)."""
    channel = torch.arange(0, config.head_width, 2, dtype=dtype, device=device)
    return config.rope_base ** -(channel / config.head_width)


def rope_angles(position_N: Tensor, frequencies: Tensor) -> RopeAngles:
    """Return the cosines and sines of the angles at these positions."""
    angle_ND = position_N.float().unsqueeze(1) * frequencies
    return angle_ND.cos().unsqueeze(1), angle_ND.sin().unsqueeze(1)


def apply_rope(x_NHD: Tensor, angles: RopeAngles) -> Tensor:
    """Rotate every head of each token's queries or keys by the angles of its position."""
    cos, sin = angles
    first, second = x_NHD.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
