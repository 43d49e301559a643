"""Block manager: allocates, shares, copies and frees the cache blocks of prompts and sequences."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf

from archon.engine.cache.block_pool import BlockPool
from archon.engine.cache.kv_cache import BLOCK_SIZE, BlockStorage, num_blocks_for
from archon.engine.cache.prefix_tree import PrefixNode, PrefixTree
from archon.engine.scheduling.sequence import LONG_ROOT, Prompt, Sequence


class BlockManager:
    """Manages all cache blocks.

    The prefix tree owns the full blocks of prompts. A prompt owns its tail block, and a sequence
    owns the blocks to which it writes. A method that allocates blocks allocates either all the
    blocks that it needs or none.
    """

    def __init__(self, cache: BlockStorage) -> None:
        self.cache, self.pool, self.tree = cache, BlockPool(cache.num_blocks), PrefixTree()

    @property
    def num_available(self) -> int:
        """Number of blocks that are free, or cached but not used by a live prompt."""
        return self.pool.num_free + self.tree.num_evictable

    def match(self, prompt: Prompt) -> list[PrefixNode]:
        """Return the nodes of the longest prefix of the prompt that is in the tree.

        Some of the nodes may not be ready yet.
        """
        tokens = prompt.tokens(0, prompt.num_shared_blocks * BLOCK_SIZE)
        return self.tree.match(tokens, prompt.root)

    def allocate_prompt(self, prompt: Prompt, path: list[PrefixNode], num_spare: int) -> bool:
        """Allocate a prompt's blocks after ``path`` if ``num_spare`` other blocks remain available.

        Returns
        -------
        True if the blocks were allocated.
        """
        num_new = prompt.num_shared_blocks - len(path)
        num_tail = int(prompt.num_needed > prompt.num_shared_blocks * BLOCK_SIZE)
        self.tree.extend(path, (), [])  # in use from here on, so that allocating cannot evict it
        blocks = self._allocate(num_new + num_tail, num_spare)
        if blocks is not None:
            prompt.path = self.tree.extend(
                path, prompt.tokens(0, prompt.num_tokens), blocks[:num_new], prompt.root
            )
            prompt.blocks = array("i", (node.block for node in prompt.path))
            prompt.blocks.extend(blocks[num_new:])
            if prompt.request.hold is not None:
                self.tree.pin(prompt.request.hold, prompt.path)
        self.tree.release(path)
        return blocks is not None

    def drop_adapter(self, adapter: str) -> None:
        """Free the cached prefixes of an adapter; no live prompt may use it."""
        for root in (adapter, adapter + LONG_ROOT):
            self.pool.free(self.tree.drop(root))

    def free_prompt(self, prompt: Prompt) -> None:
        """Release a prompt's blocks; computed blocks are kept in the tree."""
        self.free_tail(prompt)
        self.pool.free(self.tree.release(prompt.path))
        prompt.path, prompt.blocks = [], array("i")

    def free_tail(self, prompt: Prompt) -> None:
        """Free the block of a prompt's last tokens, if the prompt still has it."""
        if prompt.tail_block is not None:
            self.pool.free([prompt.blocks.pop()])

    def fork(self, sequence: Sequence, num_spare: int) -> bool:
        """Give a new sequence its prompt's shared blocks, and a new block for a copy of the tail.

        Returns
        -------
        True if a block was available and ``num_spare`` other blocks remain available.
        """
        prompt = sequence.prompt
        blocks = self._allocate(1, num_spare)
        if blocks is not None:
            sequence.blocks = prompt.blocks[: prompt.num_shared_blocks] + array("i", blocks)
        return blocks is not None

    def copy_tails(self, forked: Iterable[Sequence]) -> None:
        """Copy each prompt's last, partly filled block to the sequences forked from the prompt."""
        targets: dict[Prompt, list[int]] = {}
        for sequence in forked:
            targets.setdefault(sequence.prompt, []).append(sequence.own_blocks[0])
        for prompt, blocks in targets.items():
            assert prompt.tail_block is not None
            self.cache.copy_blocks(prompt.tail_block, blocks)

    def grow(self, sequences: SequenceOf[Sequence], num_spare: int = 0) -> bool:
        """Allocate the missing blocks for all tokens of these sequences.

        A shared last block is copied, because the sequence will write to it.

        Returns
        -------
        True if the blocks were allocated and ``num_spare`` other blocks remain available.
        """
        copies = [s.shares_last_block and self.pool.is_shared(s.blocks[-1]) for s in sequences]
        needs = [
            num_blocks_for(s.num_tokens) - (len(s.blocks) or s.num_shared_blocks) + copied
            for s, copied in zip(sequences, copies, strict=True)
        ]
        blocks = self._allocate(sum(needs), num_spare)
        if blocks is None:
            return False
        for sequence, num_blocks, copied in zip(sequences, needs, copies, strict=True):
            table = sequence.blocks or sequence.prompt.blocks[: sequence.num_shared_blocks]
            new = [blocks.pop() for _ in range(num_blocks)]
            if copied:
                self.cache.copy_blocks(table[-1], new[:1])
                self.pool.free([table.pop()])
            table.extend(new)
            sequence.blocks, sequence.shares_last_block = table, False
        return True

    def share(self, sequence: Sequence) -> Sequence:
        """Copy a sequence; the two share their blocks until one of them writes."""
        self.pool.share(sequence.own_blocks)
        sequence.shares_last_block = sequence.num_computed % BLOCK_SIZE != 0
        return sequence.copy()

    def cache_own(self, sequence: Sequence) -> None:
        """Give a sequence's full computed blocks to the prefix tree."""
        prompt, shared = sequence.prompt, sequence.num_shared_blocks
        if not sequence.shares_prompt:
            return
        stop = max(sequence.num_computed // BLOCK_SIZE, shared)
        tokens = sequence.tokens(0, stop * BLOCK_SIZE)
        own = sequence.blocks[shared:stop]
        adopted = self.tree.adopt(prompt.path, tokens, own, prompt.root)
        # If the tree already has a block for the same tokens, it keeps it; ours is freed later.
        sequence.blocks = array("i", (b for b in sequence.blocks if b not in adopted))

    def free_own(self, sequence: Sequence) -> None:
        """Free a sequence's own blocks."""
        self.pool.free(sequence.own_blocks)
        sequence.blocks, sequence.shares_last_block = array("i"), False

    def _allocate(self, count: int, num_spare: int) -> list[int] | None:
        if count + num_spare > self.num_available:
            return None
        self.pool.free(self.tree.evict(count - self.pool.num_free))
        return self.pool.allocate(count)
