"""The cache of an encoder–decoder's own keys and values, of texts that grow side by side.

Keys of the source are computed once and stand in ``Memory``; here are those of what was written.
All texts have the same length, so each layer's keys are one tensor, and branching of a search is a
choice of rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class GrowingKeys:
    """Keys and values of B texts, layer by layer; see ``encoder_decoder.SelfKeys``."""

    def __init__(self, num_layers: int) -> None:
        self._layers: list[tuple[Tensor, Tensor] | None] = [None] * num_layers

    def extend(self, layer: int, k_BHTD: Tensor, v_BHTD: Tensor) -> tuple[Tensor, Tensor]:
        """Add those of the newest tokens; returns all there are, (B, H, S, D) twice."""
        before = self._layers[layer]
        if before is not None:
            k_BHTD = torch.cat([before[0], k_BHTD], dim=2)
            v_BHTD = torch.cat([before[1], v_BHTD], dim=2)
        self._layers[layer] = (k_BHTD, v_BHTD)
        return k_BHTD, v_BHTD

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows, in this order; one may be there twice, another no more."""
        chosen = torch.tensor(rows, dtype=torch.long)
        self._layers = [
            None if pair is None else (pair[0][chosen], pair[1][chosen]) for pair in self._layers
        ]
