"""Rotary position embedding, RoPE (Su et al. 2021, arXiv 2104.09864), in the "halves" convention.

Channel i of the first half of a head and channel i of the second half are the coordinates of a
point in the plane. RoPE rotates the point by the angle position · frequency_i. So the positions of
a query and a key affect their dot product only through the distance between them.

A model that was trained on short texts is extended to longer ones by *scaling*: each frequency is
divided by a number. The functions at the end compute these divisors for the published methods.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

RopeAngles = tuple[Tensor, Tensor]
"""Cosines and sines of the angle of each position and each point of a head, (N, 1, R / 2) each."""
Divisors = tuple[float, ...]
"""Numbers that the R / 2 frequencies are divided by; empty for no scaling."""


@dataclass(frozen=True, slots=True)
class Rope:
    """A rotary embedding: its frequencies, and the size of its rotated vectors."""

    width: int
    """R: rotated channels of a head, the first ones. The others do not depend on the position."""
    base: float = 10_000.0
    """Frequency i is base^(−2i / R) radians per position, before scaling."""
    divisors: Divisors = ()
    long_divisors: Divisors = ()
    """Divisors for texts of more than ``long_after`` tokens (LongRoPE)."""
    long_after: int | None = None
    """Tokens of the longest text that uses ``divisors``; None if all texts do."""
    magnitude: float = 1.0
    """Factor of the rotated channels; it makes attention sharper in long texts."""

    def frequencies(
        self, device: torch.device, dtype: torch.dtype = torch.float32, *, is_long: bool = False
    ) -> Tensor:
        """Return the frequency of each point of a head, in radians per position: (R / 2,)."""
        channel = torch.arange(0, self.width, 2, dtype=dtype, device=device)
        plain = self.base ** -(channel / self.width)
        divisors = self.long_divisors if is_long and self.long_divisors else self.divisors
        return plain / torch.tensor(divisors, dtype=dtype, device=device) if divisors else plain


class RopeTable:
    """The frequencies of a rotary embedding as tensors, for the angles of a step."""

    def __init__(
        self, rope: Rope, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        self.rope = rope
        self.frequencies = rope.frequencies(device, dtype)
        self.long_frequencies = rope.frequencies(device, dtype, is_long=True)

    def angles(self, position_N: Tensor, is_long_N: Tensor | None = None) -> RopeAngles:
        """Return the cosines and sines for these positions, times the magnitude.

        Parameters
        ----------
        is_long_N
            True for tokens of texts that use the long frequencies; None if none does.
        """
        frequencies = self.frequencies
        if is_long_N is not None and self.rope.long_divisors:
            frequencies = torch.where(
                is_long_N.unsqueeze(1), self.long_frequencies, self.frequencies
            )
        cos, sin = rope_angles(position_N, frequencies)
        magnitude = self.rope.magnitude
        return (cos, sin) if magnitude == 1 else (cos * magnitude, sin * magnitude)


def rope_angles(position_N: Tensor, frequencies: Tensor) -> RopeAngles:
    """Return the cosines and sines of the angles at these positions."""
    angle_NR = position_N.float().unsqueeze(1) * frequencies
    return angle_NR.cos().unsqueeze(1), angle_NR.sin().unsqueeze(1)


def apply_rope(x_NHD: Tensor, angles: RopeAngles) -> Tensor:
    """Rotate the first R channels of every head of queries or keys by its position's angles."""
    cos, sin = angles
    width = 2 * cos.shape[-1]
    first, second = x_NHD[..., :width].chunk(2, dim=-1)
    rotated = [first * cos - second * sin, second * cos + first * sin]
    return torch.cat([*rotated, x_NHD[..., width:]], dim=-1)


# ------------------------------------------------------------------------------- scaling


def linear_divisors(rope: Rope, factor: float) -> Divisors:
    """Return the divisors of position interpolation (Chen et al. 2023, arXiv 2306.15595)."""
    return (factor,) * (rope.width // 2)


def llama3_divisors(
    rope: Rope, factor: float, low_factor: float, high_factor: float, original_context: int
) -> Divisors:
    """Return the divisors of Llama 3.1 (Llama team 2024, arXiv 2407.21783).

    Waves shorter than ``original_context / high_factor`` positions stay, those longer than
    ``original_context / low_factor`` are divided by the factor, and those between are blended.
    """

    def divisor(frequency: float) -> float:
        waves = original_context * frequency / (2 * math.pi)
        if waves > high_factor:
            return 1.0
        if waves < low_factor:
            return factor
        share = (waves - low_factor) / (high_factor - low_factor)
        return 1 / ((1 - share) / factor + share)

    return tuple(divisor(frequency) for frequency in _plain(rope))


@dataclass(frozen=True, slots=True)
class Yarn:
    """Parameters of YaRN (Peng et al. 2023, arXiv 2309.00071)."""

    factor: float
    original_context: int
    fast: float = 32.0
    """Points that rotate at least this often in the original context keep their frequency."""
    slow: float = 1.0
    """Frequencies of points that rotate less often than this are divided by the factor."""
    truncates: bool = True
    """True if the bounds between these points are rounded to whole points."""

    def divisors(self, rope: Rope) -> Divisors:
        """Return the divisors; between the bounds, the share of the factor rises linearly."""
        low, high = self._point(rope, self.fast), self._point(rope, self.slow)
        if self.truncates:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, rope.width - 1)
        slope = 1 / (high - low if high != low else 0.001)
        shares = (min(max((i - low) * slope, 0.0), 1.0) for i in range(rope.width // 2))
        return tuple(1 / (share / self.factor + 1 - share) for share in shares)

    def _point(self, rope: Rope, rotations: float) -> float:
        """Return the (fractional) point that rotates this often in the original context."""
        length = self.original_context / (rotations * 2 * math.pi)
        return rope.width * math.log(length) / (2 * math.log(rope.base))


def yarn_magnitude(factor: float, weight: float = 1.0) -> float:
    """Return the magnitude that YaRN recommends: 0.1 · weight · ln(factor) + 1."""
    return 0.1 * weight * math.log(factor) + 1 if factor > 1 else 1.0


def longrope_magnitude(factor: float, original_context: int) -> float:
    """Return the magnitude that LongRoPE recommends (Ding et al. 2024, arXiv 2402.13753)."""
    return math.sqrt(1 + math.log(factor) / math.log(original_context)) if factor > 1 else 1.0


def _plain(rope: Rope) -> list[float]:
    return [rope.base ** -(2 * i / rope.width) for i in range(rope.width // 2)]
