"""Block manager: allocates, shares, copies and frees the cache blocks of prompts and sequences."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

from archon.engine.cache.block_pool import BlockPool
from archon.engine.cache.kv_cache import BLOCK_SIZE, BlockStorage, num_blocks_for
from archon.engine.cache.layout import LayerGroup
from archon.engine.cache.prefix_tree import PrefixNode, PrefixTree
from archon.engine.scheduling.block_table import BlockTable
from archon.engine.scheduling.sequence import LONG_ROOT, Prompt, Sequence


@dataclass(frozen=True, slots=True)
class Match:
    """The longest prefix of a prompt that is in the tree."""

    path: list[PrefixNode]
    num_reusable: int
    """Number of leading nodes that need not be computed. It is less than there are if blocks within
    a window were evicted."""

    @property
    def is_pending(self) -> bool:
        """True if another prompt is computing more of the prefix."""
        if self.path and not self.path[-1].ready:
            return True
        missing = self.path[self.num_reusable :]
        return any(window.is_pending for node in missing for window in node.windows)


class BlockManager:
    """Manages all cache blocks.

    The prefix tree owns the full entries of prompts. A prompt owns its tail, and a sequence owns
    the entries to which it writes. A method that allocates blocks allocates either all the blocks
    that it needs or none.

    In a layer group with a window, blocks are allocated when a step is about to write to them, and
    given back when the window has passed them. Those of a prompt stay in the tree until the memory
    is needed, because another prompt may continue after them.

    Parameters
    ----------
    max_step_tokens
        Maximum number of tokens in one step.
    """

    def __init__(self, cache: BlockStorage, max_step_tokens: int) -> None:
        self.cache, self.layout, self.pool = cache, cache.layout, BlockPool(cache.num_blocks)
        self.max_step_tokens = max_step_tokens
        self._windows = [
            (number, group)
            for number, group in enumerate(self.layout.groups)
            if group.window is not None
        ]
        self._full_size = sum(g.size for g in self.layout.groups if g.window is None)
        self.tree = PrefixTree([group for _, group in self._windows])

    @property
    def num_available(self) -> int:
        """Number of blocks that are free, or cached but not used by a live prompt."""
        return self.pool.num_free + self.tree.num_evictable

    # ------------------------------------------------------------------------ worst cases

    def num_needed(self, prompt: Prompt) -> int:
        """Return the maximum number of blocks that a prompt and ``group_size`` of its sequences
        need."""
        shared = sum(
            group.size * group.max_entries(prompt.num_shared_entries * BLOCK_SIZE, step)
            for step, group in self._steps()
        )
        return shared + self.layout.entry_size + self._own(prompt, self._steps())

    def num_own_needed(self, prompt: Prompt) -> int:
        """Return the maximum number of blocks that ``group_size`` sequences need in addition to the
        prompt's, unless they are recomputed."""
        return self._own(prompt, ((1, group) for group in self.layout.groups))

    def _steps(self) -> Iterable[tuple[int, LayerGroup]]:
        return ((self.max_step_tokens, group) for group in self.layout.groups)

    @staticmethod
    def _own(prompt: Prompt, steps: Iterable[tuple[int, LayerGroup]]) -> int:
        num_tokens = prompt.num_tokens + prompt.request.max_tokens
        num_shared = prompt.num_shared_entries
        if prompt.long_after is not None and not prompt.is_long and num_tokens > prompt.long_after:
            num_shared = 0  # its sequences recompute the prompt when they become long
        num_own = num_tokens - num_shared * BLOCK_SIZE
        return prompt.group_size * sum(
            group.size * group.max_entries(num_own, step) for step, group in steps
        )

    # ---------------------------------------------------------------------------- prompts

    def match(self, prompt: Prompt) -> Match:
        """Return the longest prefix of the prompt that is in the tree.

        Some of the nodes may not be ready yet.
        """
        tokens = prompt.tokens(0, prompt.num_shared_entries * BLOCK_SIZE)
        path = self.tree.match(tokens, prompt.root)
        return Match(path, self.tree.num_reusable(path))

    def allocate_prompt(self, prompt: Prompt, match: Match, num_spare: int) -> bool:
        """Allocate a prompt's blocks after a match if ``num_spare`` other blocks remain available.

        In groups with a window, blocks are only allocated for the tail, but those for the first
        step are available.

        Returns
        -------
        True if the blocks were allocated.
        """
        path, start = match.path, match.num_reusable * BLOCK_SIZE
        num_tail = int(prompt.num_needed > prompt.num_shared_entries * BLOCK_SIZE)
        num_new = prompt.num_shared_entries - len(path)
        size = self._full_size
        num_step = min(prompt.num_shared_entries * BLOCK_SIZE - start, self.max_step_tokens)
        num_spare += sum(group.size for _, group in self._windows) * num_blocks_for(num_step)
        self.tree.extend(path, (), [])  # in use from here on, so that allocating cannot evict it
        windows = [path[g.first_entry(start) : match.num_reusable] for _, g in self._windows]
        for number, nodes in enumerate(windows):
            self.tree.enter_window(number, nodes)
        blocks = self._allocate(num_new * size + num_tail * self.layout.entry_size, num_spare)
        if blocks is not None:
            entries = [blocks[i * size : (i + 1) * size] for i in range(num_new)]
            prompt.path = self.tree.extend(
                path, prompt.tokens(0, prompt.num_tokens), entries, prompt.root
            )
            prompt.tables = [BlockTable(group) for group in self.layout.groups]
            self._fill_tables(prompt)
            self._enter_windows(prompt, start)
            self._add_tail(prompt, blocks[num_new * size :])
            if prompt.request.hold is not None:
                self.tree.pin(prompt.request.hold, prompt.path)
        for number, nodes in enumerate(windows):
            self.pool.free(self.tree.leave_window(number, nodes))
        self.tree.release(path)
        return blocks is not None

    def _fill_tables(self, prompt: Prompt) -> None:
        """Fill the shared entries of a prompt's block tables with the blocks of its nodes."""
        if self._full_size:
            prompt.tables[0].extend(block for node in prompt.path for block in node.blocks)
        for number, (at, group) in enumerate(self._windows):
            nothing = [0] * group.size
            for node in prompt.path:
                prompt.tables[at].extend(node.windows[number].blocks or nothing)

    def _enter_windows(self, prompt: Prompt, start: int) -> None:
        """Use the blocks that a prompt needs whose tokens from ``start`` on will be computed."""
        for number, (at, group) in enumerate(self._windows):
            prompt.tables[at].num_passed = group.first_entry(start)
            self.tree.enter_window(number, prompt.path[group.first_entry(start) :])

    @staticmethod
    def _add_tail(prompt: Prompt, blocks: list[int]) -> None:
        for table in prompt.tables if blocks else ():
            table.extend(blocks.pop() for _ in range(table.group.size))

    def grow_prompt(self, prompt: Prompt, stop: int, num_spare: int) -> bool:
        """Allocate the blocks within windows to which the tokens before ``stop`` are written.

        Returns
        -------
        True if the blocks were allocated and ``num_spare`` other blocks remain available.
        """
        nodes = prompt.path[prompt.num_computed // BLOCK_SIZE : num_blocks_for(stop)]
        missing = [
            (at, entry, window)
            for number, (at, _) in enumerate(self._windows)
            for entry, node in enumerate(nodes, prompt.num_computed // BLOCK_SIZE)
            if not (window := node.windows[number]).blocks
        ]
        if not missing:
            return True
        sizes = [self.layout.groups[at].size for at, _, _ in missing]
        blocks = self._allocate(sum(sizes), num_spare)
        if blocks is None:
            return False
        for (at, entry, window), size in zip(missing, sizes, strict=True):
            window.blocks = [blocks.pop() for _ in range(size)]
            prompt.tables[at].set_entry(entry, window.blocks)
        return True

    def mark_computed(self, prompt: Prompt, start: int, stop: int) -> None:
        """Record that the tokens at positions ``start`` to ``stop`` - 1 are in the cache, and give
        the blocks back that all windows have passed."""
        self.tree.mark_ready(prompt.path[start // BLOCK_SIZE : stop // BLOCK_SIZE])
        # A preempted sequence is recomputed from the end of the shared entries on.
        position = min(stop, prompt.num_shared_entries * BLOCK_SIZE)
        for number, (_, group) in enumerate(self._windows):
            self._pass(prompt, number, group.first_entry(position))

    def _pass(self, prompt: Prompt, number: int, passed: int) -> None:
        """Give the blocks before entry ``passed`` of a prompt back to the tree."""
        table = prompt.tables[self._windows[number][0]]
        if passed > table.num_passed:
            self.pool.free(self.tree.leave_window(number, prompt.path[table.num_passed : passed]))
            table.num_passed = passed

    def free_passed_by_all(self, prompt: Prompt) -> None:
        """Give the blocks of a prompt back that the windows of all of its sequences have passed."""
        readers = [sequence for sequence in prompt.running if sequence.shares_prompt]
        for number, (at, _) in enumerate(self._windows):
            passed = min((s.tables[at].num_passed for s in readers), default=len(prompt.path))
            self._pass(prompt, number, min(passed, len(prompt.path)))

    def lacks_window(self, prompt: Prompt) -> bool:
        """Return True if a prompt has given blocks back that a recomputed sequence would read."""
        stop = prompt.num_shared_entries * BLOCK_SIZE
        return any(
            prompt.tables[at].num_passed > group.first_entry(stop) for at, group in self._windows
        )

    def restore_window(self, prompt: Prompt) -> int | None:
        """Use the blocks again that a prompt has given back, as far as they are in the tree.

        Returns
        -------
        Number of tokens after which the prompt must be computed again; None if another prompt is
        computing them.
        """
        match = Match(prompt.path, self.tree.num_reusable(prompt.path))
        if match.is_pending:
            return None
        num_passed = [prompt.tables[at].num_passed for at, _ in self._windows]
        for table in prompt.tables:
            table.clear()
        self._fill_tables(prompt)
        self._enter_windows(prompt, match.num_reusable * BLOCK_SIZE)
        for number, passed in enumerate(num_passed):
            self.pool.free(self.tree.leave_window(number, prompt.path[passed:]))
        return match.num_reusable * BLOCK_SIZE

    def drop_adapter(self, adapter: str) -> None:
        """Free the cached prefixes of an adapter; no live prompt may use it."""
        for root in (adapter, adapter + LONG_ROOT):
            self.pool.free(self.tree.drop(root))

    def free_prompt(self, prompt: Prompt) -> None:
        """Release a prompt's blocks; computed blocks are kept in the tree."""
        self.free_tail(prompt)
        for number, (at, _) in enumerate(self._windows):
            nodes = prompt.path[prompt.tables[at].num_passed :]
            self.pool.free(self.tree.leave_window(number, nodes))
        self.pool.free(self.tree.release(prompt.path))
        prompt.path, prompt.tables = [], []

    def free_tail(self, prompt: Prompt) -> None:
        """Free the blocks of a prompt's last tokens, if the prompt still has them."""
        if prompt.has_tail:
            for table in prompt.tables:
                self.pool.free(table.pop())

    # -------------------------------------------------------------------------- sequences

    def fork(self, sequence: Sequence, num_spare: int) -> bool:
        """Give a new sequence its prompt's shared entries, and new blocks for a copy of the tail.

        Returns
        -------
        True if the blocks were available and ``num_spare`` other blocks remain available.
        """
        blocks = self._allocate(self.layout.entry_size, num_spare)
        if blocks is not None:
            sequence.tables = self._shared_tables(sequence)
            for table in sequence.tables:
                table.extend(blocks.pop() for _ in range(table.group.size))
            sequence.capacity = sequence.tables[-1].num_tokens
        return blocks is not None

    def _shared_tables(self, sequence: Sequence) -> list[BlockTable]:
        num_shared = sequence.num_shared_entries
        return [table.copy(num_shared) for table in sequence.prompt.tables]

    def copy_tails(self, forked: Iterable[Sequence]) -> None:
        """Copy each prompt's last, partly filled entry to the sequences forked from the prompt."""
        targets: dict[Prompt, list[Sequence]] = {}
        for sequence in forked:
            targets.setdefault(sequence.prompt, []).append(sequence)
        for prompt, sequences in targets.items():
            assert prompt.has_tail
            for number, table in enumerate(prompt.tables):
                at = prompt.num_shared_entries
                copies = [sequence.tables[number].entry(at) for sequence in sequences]
                for source, *blocks in zip(table.entry(at), *copies, strict=True):
                    self.cache.copy_blocks(source, blocks)

    def is_short(self, sequence: Sequence) -> bool:
        """Return True if a sequence needs blocks before its next tokens can be computed."""
        # The last group has the fewest entries.
        reach = self._reach(sequence, self.layout.groups[-1])
        return sequence.shares_last_entry or sequence.capacity < reach

    def _reach(self, sequence: Sequence, group: LayerGroup) -> int:
        """Return for how many tokens a sequence needs entries in a layer group."""
        if group.window is None:
            return sequence.num_tokens
        return min(sequence.num_tokens, sequence.num_computed + self.max_step_tokens)

    def grow(self, sequences: SequenceOf[Sequence], num_spare: int = 0) -> bool:
        """Allocate the missing blocks for the tokens of these sequences.

        In groups with a window they are the tokens that the next step can compute. A shared last
        entry is copied, because the sequence will write to it.

        Returns
        -------
        True if the blocks were allocated and ``num_spare`` other blocks remain available.
        """
        all_tables = [s.tables or self._shared_tables(s) for s in sequences]
        copies = [
            s.shares_last_entry and self.pool.is_shared(s.tables[0].blocks[-1]) for s in sequences
        ]
        needs = [
            [
                num_blocks_for(self._reach(s, table.group)) - table.num_entries + copied
                for table in tables
            ]
            for s, tables, copied in zip(sequences, all_tables, copies, strict=True)
        ]
        sizes = [group.size for group in self.layout.groups]
        blocks = self._allocate(
            sum(n * size for need in needs for n, size in zip(need, sizes, strict=True)), num_spare
        )
        if blocks is None:
            return False
        grown = zip(sequences, all_tables, needs, copies, strict=True)
        for sequence, tables, need, copied in grown:
            for table, num_entries in zip(tables, need, strict=True):
                new = [blocks.pop() for _ in range(num_entries * table.group.size)]
                if copied:
                    self._replace_last(table, new)
                table.extend(new)
            sequence.tables, sequence.shares_last_entry = tables, False
            sequence.capacity = tables[-1].num_tokens
        return True

    def _replace_last(self, table: BlockTable, new: list[int]) -> None:
        """Remove a shared last entry, after copying its blocks to the first new ones."""
        for source, target in zip(shared := table.pop(), new, strict=False):
            self.cache.copy_blocks(source, [target])
        self.pool.free(shared)

    def free_passed(self, sequence: Sequence) -> bool:
        """Give a sequence's own blocks back that its windows have passed.

        Returns
        -------
        True if a window has passed an entry, its own or one of the prompt.
        """
        has_passed = False
        for at, group in self._windows:
            table, passed = sequence.tables[at], group.first_entry(sequence.num_computed)
            if passed > table.num_passed:
                held = table.held(sequence.num_shared_entries)
                table.num_passed, has_passed = passed, True
                kept = len(table.held(sequence.num_shared_entries))
                self.pool.free(held[: len(held) - kept])
        return has_passed

    def share(self, sequence: Sequence) -> Sequence:
        """Copy a sequence; the two share their blocks until one of them writes."""
        self.pool.share(sequence.own_blocks)
        sequence.shares_last_entry = sequence.num_computed % BLOCK_SIZE != 0
        return sequence.copy()

    def cache_own(self, sequence: Sequence) -> None:
        """Give a sequence's full computed entries to the prefix tree."""
        prompt, shared = sequence.prompt, sequence.num_shared_entries
        if not sequence.shares_prompt:
            return
        numbers = range(shared, max(sequence.num_computed // BLOCK_SIZE, shared))
        entries: list[SequenceOf[int]] = [()] * len(numbers)
        windows = []
        for table in sequence.tables:
            if table.group.window is None:
                entries = [table.entry(n) for n in numbers]
            else:
                windows.append([table.entry(n) if n >= table.num_passed else () for n in numbers])
        tokens = sequence.tokens(0, numbers.stop * BLOCK_SIZE)
        # The tree gets a reference of its own; the sequence's is freed later.
        self.pool.share(self.tree.adopt(prompt.path, tokens, entries, windows, prompt.root))

    def free_own(self, sequence: Sequence) -> None:
        """Free a sequence's own blocks."""
        self.pool.free(sequence.own_blocks)
        sequence.tables, sequence.shares_last_entry = [], False

    def _allocate(self, count: int, num_spare: int) -> list[int] | None:
        if count + num_spare > self.num_available:
            return None
        self.pool.free(self.tree.evict(count - self.pool.num_free))
        return self.pool.allocate(count)
