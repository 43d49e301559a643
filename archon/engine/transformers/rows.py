"""Rows of a batch: texts of equal length, with the model's cache for them.

The cache is whatever the model returns: keys and values, the states of a state-space model, or
both. Its tensors have one entry per row in their first dimension.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(slots=True)
class Rows:
    """Texts of equal length, and the model's cache for them."""

    token_ids_BT: Tensor
    """The tokens of each text, (B, T)."""
    cache: tuple[str, object] | None = None
    """Name of the cache among the model's arguments, and the cache. None before the first call."""

    @property
    def num_bytes(self) -> int:
        """Size of the cache."""
        return 0 if self.cache is None else _num_bytes(self.cache[1])

    def first_tokens(self, num_tokens: int) -> Rows | None:
        """Return a copy with the first tokens of each row.

        Return None if the cache cannot be cut: for example, a sliding window has dropped keys.
        """
        rows = self.select(list(range(len(self.token_ids_BT))))
        num_dropped = self.token_ids_BT.shape[1] - num_tokens
        if rows.cache is None or not hasattr(rows.cache[1], "crop"):
            return None
        try:
            if num_dropped:
                rows.cache[1].crop(-num_dropped)
        except (RuntimeError, ValueError):
            return None
        rows.token_ids_BT = rows.token_ids_BT[:, :num_tokens]
        return rows

    def select(self, rows: list[int]) -> Rows:
        """Return copies of these rows, which may repeat. The original is left as it is."""
        num_rows = len(self.token_ids_BT)
        rows_N = torch.tensor(rows, device=self.token_ids_BT.device)
        cache = self.cache
        if cache is not None:
            cache = (cache[0], _selected(cache[1], rows_N, num_rows))
        return Rows(self.token_ids_BT[rows_N], cache)


def _selected(value: Any, rows_N: Tensor, num_rows: int) -> Any:
    """Return a copy of a cache with these rows of each tensor."""
    if isinstance(value, Tensor):
        if value.dim() and value.shape[0] == num_rows:
            return value.index_select(0, rows_N.to(value.device))
        return value.clone()
    if isinstance(value, Mapping):
        same = copy.copy(value)
        for key, one in value.items():
            same[key] = _selected(one, rows_N, num_rows)  # type: ignore[index]
        return same
    if isinstance(value, list | tuple):
        return type(value)([_selected(one, rows_N, num_rows) for one in value])
    if _is_cache(value):
        same = copy.copy(value)
        for name, one in vars(value).items():
            setattr(same, name, _selected(one, rows_N, num_rows))
        return same
    return value


def _num_bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        return sum(map(_num_bytes, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(_num_bytes, value))
    return _num_bytes(vars(value)) if _is_cache(value) else 0


def _is_cache(value: object) -> bool:
    """Return True for a cache or one of its layers, whose attributes contain tensors."""
    name = type(value).__name__
    return hasattr(value, "__dict__") and ("Cache" in name or "Layer" in name)
