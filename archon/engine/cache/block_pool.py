"""Which blocks of the cache are free, and how many refer to those that are not."""

from __future__ import annotations

from collections.abc import Iterable


class BlockPool:
    """Counts references to ``num_blocks`` blocks; what they hold is the cache's business."""

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self._free = list(range(num_blocks - 1, -1, -1))
        self._references = [0] * num_blocks

    @property
    def num_free(self) -> int:
        return len(self._free)

    def allocate(self, count: int) -> list[int]:
        """Take ``count`` blocks, one reference each; the caller has made sure they are there."""
        assert 0 <= count <= len(self._free)
        blocks = [self._free.pop() for _ in range(count)]
        for block in blocks:
            self._references[block] = 1
        return blocks

    def share(self, blocks: Iterable[int]) -> None:
        """One reference more to each of these blocks."""
        for block in blocks:
            assert self._references[block] > 0
            self._references[block] += 1

    def is_shared(self, block: int) -> bool:
        """Whether more than one refers to it."""
        return self._references[block] > 1

    def free(self, blocks: Iterable[int]) -> None:
        """One reference less to each; a block without any is free."""
        for block in blocks:
            assert self._references[block] > 0
            self._references[block] -= 1
            if not self._references[block]:
                self._free.append(block)
