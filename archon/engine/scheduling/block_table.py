"""Block tables: which cache blocks have the keys and values of a text."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from archon.engine.cache.kv_cache import BLOCK_SIZE
from archon.engine.cache.layout import LayerGroup


@dataclass(slots=True)
class BlockTable:
    """The block table of a text for one layer group; an entry has the blocks of 16 tokens."""

    group: LayerGroup
    blocks: array[int] = field(default_factory=lambda: array("i"))
    num_passed: int = 0
    """Number of leading entries that no later token reads. The text has given their blocks back,
    and other texts may use them."""

    @property
    def num_entries(self) -> int:
        return len(self.blocks) // self.group.size

    @property
    def num_tokens(self) -> int:
        """Number of tokens for which the table has entries."""
        return self.num_entries * BLOCK_SIZE

    def entry(self, number: int) -> array[int]:
        return self.blocks[number * self.group.size : (number + 1) * self.group.size]

    def held(self, start: int) -> array[int]:
        """Return the blocks of the entries from ``start`` on that the text has not given back."""
        return self.blocks[max(start, self.num_passed) * self.group.size :]

    def set_entry(self, number: int, blocks: Sequence[int]) -> None:
        self.blocks[number * self.group.size : (number + 1) * self.group.size] = array("i", blocks)

    def extend(self, blocks: Iterable[int]) -> None:
        self.blocks.extend(blocks)

    def pop(self) -> array[int]:
        """Remove the last entry and return its blocks."""
        last = self.entry(self.num_entries - 1)
        del self.blocks[-self.group.size :]
        return last

    def clear(self) -> None:
        del self.blocks[:]

    def copy(self, num_entries: int | None = None) -> BlockTable:
        """Return a copy of the leading entries, by default of all."""
        count = self.num_entries if num_entries is None else num_entries
        blocks = self.blocks[: count * self.group.size]
        return BlockTable(self.group, blocks, min(self.num_passed, count))
