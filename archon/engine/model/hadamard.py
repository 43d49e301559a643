"""Hadamard rotation: an orthogonal matrix that mixes all channels and is cheap to apply."""

from __future__ import annotations

from copy import copy

import torch
from torch import Tensor

_SEED = 2404
_LARGEST_BLOCK = 128


class HadamardRotation:
    """A fixed orthogonal matrix Q, (size, size), that mixes all channels.

    Q = S·(R ⊗ H). S is a diagonal of random signs, R a small random orthogonal matrix, H a Hadamard
    matrix. The Kronecker product R ⊗ H is computed as two small products.
    """

    def __init__(self, size: int) -> None:
        block = min(size & -size, _LARGEST_BLOCK)
        generator = torch.Generator().manual_seed(_SEED + size)
        self.sign = torch.randint(0, 2, (size,), generator=generator).float() * 2 - 1
        gaussian = torch.randn(size // block, size // block, generator=generator)
        self.mix = torch.linalg.qr(gaussian.double()).Q.float()
        self.hadamard = hadamard(block)

    def to(self, device: torch.device) -> HadamardRotation:
        """Return the same rotation with its parameters on a device."""
        moved = copy(self)
        moved.sign, moved.mix = self.sign.to(device), self.mix.to(device)
        moved.hadamard = self.hadamard.to(device)
        return moved

    def inputs(self, weight: Tensor) -> Tensor:
        """Return W·Q, which reads rotated inputs. Q acts on the last dimension."""
        blocks = (weight * self.sign).unflatten(-1, (len(self.mix), len(self.hadamard)))
        return (self.mix.t() @ (blocks @ self.hadamard)).flatten(-2)

    def back(self, x: Tensor) -> Tensor:
        """Return rotated vectors in the original basis: x·Qᵀ over the last dimension."""
        blocks = x.unflatten(-1, (len(self.mix), len(self.hadamard)))
        return (self.mix @ (blocks @ self.hadamard)).flatten(-2) * self.sign

    def outputs(self, weight_OI: Tensor) -> Tensor:
        """Return Qᵀ·W, which writes rotated outputs."""
        return self.inputs(weight_OI.transpose(-1, -2)).transpose(-1, -2).contiguous()


def hadamard(size: int) -> Tensor:
    """Return the orthogonal matrix with entries ±1/√size (Sylvester's construction).

    Parameters
    ----------
    size
        A power of two.
    """
    matrix = torch.ones(1, 1)
    while len(matrix) < size:
        matrix = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]]), matrix)
    return matrix / size**0.5
