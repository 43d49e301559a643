"""Layout of the cache: which layers have their keys and values in the same blocks.

Layers with a sliding window need the keys of only the most recent tokens, so the blocks of earlier
tokens can be used again. Layers with the same window form a *layer group*, with its own block
tables. All groups allocate from one pool, so no memory is reserved for either kind of layer, and
every block has the keys and values of 16 tokens in the same number of layers, its *rows*. A group
with more layers than that has several blocks for each 16 tokens: an *entry* of its block table is
a list of blocks.

A decoder whose layers have the same window, or none, has one group, and its blocks have all layers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from archon.engine.cache.kv_cache import BLOCK_SIZE, num_blocks_for

_MAX_PADDING = 0.1
"""Maximum share of rows without a layer."""


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """The layers that have the same window."""

    window: int | None
    """Most recent tokens that a token attends to, itself included; None for all."""
    size: int
    """Blocks in an entry of a block table."""

    def first_entry(self, position: int) -> int:
        """Return the first entry that a text needs whose next token is at ``position``.

        No token from the start of that token's entry on reads an earlier one. So another text can
        continue after the full entries of this one.
        """
        if self.window is None:
            return 0
        start = position // BLOCK_SIZE * BLOCK_SIZE
        return max(0, start - self.window + 1) // BLOCK_SIZE

    def max_entries(self, num_tokens: int, num_queries: int = 1) -> int:
        """Return the maximum number of entries that a text of ``num_tokens`` tokens needs at once.

        Parameters
        ----------
        num_queries
            Maximum number of consecutive tokens that one step computes.
        """
        num_entries = num_blocks_for(num_tokens)
        if self.window is None:
            return num_entries
        before, after = num_blocks_for(self.window - 1), num_blocks_for(num_queries - 1)
        return min(num_entries, before + 1 + after)


@dataclass(frozen=True, slots=True)
class LayerPlace:
    """The place of a layer's keys and values."""

    group: int
    member: int
    """Index of the block in an entry."""
    row: int
    """Index of the layer in the block."""


@dataclass(frozen=True, slots=True)
class CacheLayout:
    """The layer groups of a decoder, and the place of each layer."""

    groups: tuple[LayerGroup, ...]
    """The group without a window comes first, if there is one."""
    num_rows: int
    """Layers in a block."""
    places: tuple[LayerPlace, ...]

    @property
    def entry_size(self) -> int:
        """Blocks for 16 tokens in all groups."""
        return sum(group.size for group in self.groups)

    @property
    def has_windows(self) -> bool:
        return self.groups[-1].window is not None

    @staticmethod
    def of(windows: Sequence[int | None]) -> CacheLayout:
        """Return the layout for layers with these windows."""
        return _layout(tuple(windows))


@lru_cache(64)
def _layout(windows: tuple[int | None, ...]) -> CacheLayout:
    counts = Counter(windows)
    kinds = sorted(counts, key=lambda window: (window is not None, window or 0))
    num_rows = _num_rows(list(counts.values()))
    groups = tuple(LayerGroup(window, -(-counts[window] // num_rows)) for window in kinds)
    seen: Counter[int | None] = Counter()
    places = []
    for window in windows:
        member, row = divmod(seen[window], num_rows)
        places.append(LayerPlace(kinds.index(window), member, row))
        seen[window] += 1
    return CacheLayout(groups, num_rows, tuple(places))


def _num_rows(counts: Sequence[int]) -> int:
    """Return the largest number of rows that pads the groups little; with 1 there is no padding."""
    limit = (1 + _MAX_PADDING) * sum(counts)
    return next(
        rows
        for rows in range(min(counts), 0, -1)
        if sum(-(-count // rows) * rows for count in counts) <= limit
    )


PLAIN = CacheLayout.of((None,))
"""Layout of one layer without a window."""
