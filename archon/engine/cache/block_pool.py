"""Reference counts of the cache's blocks, and the list of free blocks."""

from __future__ import annotations

from collections.abc import Iterable


class BlockPool:
    """Reference counter for ``num_blocks`` blocks, which it identifies by their numbers."""

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self._free = list(range(num_blocks - 1, -1, -1))
        self._references = [0] * num_blocks

    @property
    def num_free(self) -> int:
        return len(self._free)

    def allocate(self, count: int) -> list[int]:
        """Allocate ``count`` blocks, at most ``num_free``, with one reference each."""
        assert 0 <= count <= len(self._free)
        blocks = [self._free.pop() for _ in range(count)]
        for block in blocks:
            self._references[block] = 1
        return blocks

    def share(self, blocks: Iterable[int]) -> None:
        """Add a reference to each of these blocks."""
        for block in blocks:
            assert self._references[block] > 0
            self._references[block] += 1

    def is_shared(self, block: int) -> bool:
        """Return True if a block has more than one reference."""
        return self._references[block] > 1

    def free(self, blocks: Iterable[int]) -> None:
        """Remove one reference from each block; a block without references becomes free."""
        for block in blocks:
            assert self._references[block] > 0
            self._references[block] -= 1
            if not self._references[block]:
                self._free.append(block)
