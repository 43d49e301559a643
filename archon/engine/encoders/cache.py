"""Cache of the keys and values of the texts that an encoder–decoder generates.

All texts of a batch have the same length, so the keys of a layer are one tensor, and a beam search
copies or drops beams by selecting rows. The keys and values of the source are in
``encoder_decoder.Memory``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class GrowingKeys:
    """Keys and values of the decoder's self-attention for B texts of the same length."""

    def __init__(self, num_layers: int) -> None:
        self._layers: list[tuple[Tensor, Tensor] | None] = [None] * num_layers

    def extend(self, layer: int, k_BHTD: Tensor, v_BHTD: Tensor) -> tuple[Tensor, Tensor]:
        """Append the keys and values of the newest T tokens in a layer.

        Returns
        -------
        Keys and values of all tokens so far, in this layer.
        """
        cached = self._layers[layer]
        if cached is not None:
            k_BHTD = torch.cat([cached[0], k_BHTD], dim=2)
            v_BHTD = torch.cat([cached[1], v_BHTD], dim=2)
        self._layers[layer] = (k_BHTD, v_BHTD)
        return k_BHTD, v_BHTD

    def select(self, rows: Sequence[int]) -> None:
        """Replace the texts by these rows, in this order; a row may be repeated or left out."""
        index = torch.tensor(rows, dtype=torch.long)
        self._layers = [
            None if pair is None else (pair[0][index], pair[1][index]) for pair in self._layers
        ]
