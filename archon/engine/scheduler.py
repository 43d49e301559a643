"""Who is computed in the next step, and which blocks they hold.

A step takes one token of every running sequence and, within ``max_step_tokens``, chunks of prompts.
Prompts are admitted in the order of arrival, when their own blocks and the worst case of one
sequence are free: so whoever is admitted can always finish, and nothing is ever taken back.
A prompt whose beginning is just being computed for another waits for it.
"""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass

from archon.engine.block_pool import BlockPool
from archon.engine.kv_cache import BLOCK_SIZE, KVCache
from archon.engine.prefix_tree import PrefixNode, PrefixTree
from archon.engine.sequence import Prompt, Sequence
from archon.engine.span import Span


@dataclass(frozen=True, slots=True)
class Batch:
    """The work of one step: texts, and a span of each."""

    texts: list[Sequence | Prompt]
    spans: list[Span]

    def add(self, text: Sequence | Prompt, stop: int) -> None:
        """Compute a text up to a position; logits are wanted where that is its end."""
        start, num_logits = text.num_computed, int(stop == text.num_tokens)
        tokens = text.tokens(start, stop)
        self.texts.append(text)
        self.spans.append(Span(tokens, start, text.blocks, text.num_shared_blocks, num_logits))


class Scheduler:
    """The queues, and the blocks that those in them hold.

    Parameters
    ----------
    max_sequences : sequences that decode at once.
    max_step_tokens : tokens of one step; bounds the memory for activations.
    """

    def __init__(self, cache: KVCache, max_sequences: int, max_step_tokens: int) -> None:
        self.cache, self.pool, self.tree = cache, BlockPool(cache.num_blocks), PrefixTree()
        self.max_sequences, self.max_step_tokens = max_sequences, max_step_tokens
        self.arrived: deque[Prompt] = deque()
        self.prefilling: list[Prompt] = []
        self.prefilled: list[Prompt] = []
        """Computed prompts with sequences that wait to start."""
        self.running: list[Sequence] = []

    @property
    def has_work(self) -> bool:
        return bool(self.arrived or self.prefilling or self.prefilled or self.running)

    def schedule(self) -> Batch:
        """Choose the next step's work."""
        self._admit()
        batch = Batch([], [])
        for sequence in self.running:
            batch.add(sequence, sequence.num_tokens)
        budget = self.max_step_tokens - len(self.running)
        for prompt in self.prefilling:
            if budget <= 0:
                break
            stop = min(prompt.num_tokens, prompt.num_computed + budget)
            if stop < prompt.num_tokens:  # chunks end where blocks end
                stop = stop // BLOCK_SIZE * BLOCK_SIZE
            if stop > prompt.num_computed:
                batch.add(prompt, stop)
                budget -= stop - prompt.num_computed
        return batch

    def computed(self, batch: Batch) -> None:
        """Note that the keys and values of a step are in the cache."""
        for text, span in zip(batch.texts, batch.spans, strict=True):
            text.num_computed = span.stop
            if isinstance(text, Prompt):
                for node in text.path[: span.stop // BLOCK_SIZE]:
                    node.ready = True
                if span.stop == text.num_tokens:
                    self.prefilling.remove(text)
                    self.prefilled.append(text)

    def start_sequences(self) -> list[Sequence]:
        """Sequences of computed prompts that can begin now: they run from here on."""
        started: list[Sequence] = []
        for prompt in list(self.prefilled):
            while prompt.waiting and len(self.running) < self.max_sequences:
                sequence = prompt.waiting[0]
                if not sequence.blocks and not self._take_own_blocks(sequence):
                    return self._copy_tails(started)
                prompt.waiting.popleft()
                self.running.append(sequence)
                started.append(sequence)
            if not prompt.waiting:
                self.prefilled.remove(prompt)
        return self._copy_tails(started)

    def finish(self, sequence: Sequence) -> None:
        """Give a sequence's blocks back, and its prompt's with the last of them."""
        self.running.remove(sequence)
        self.pool.free(sequence.own_blocks)
        sequence.prompt.unfinished -= 1
        if not sequence.prompt.unfinished:
            self._release_prompt(sequence.prompt)

    def cancel(self, prompt: Prompt) -> None:
        """Forget a request wherever it stands; its blocks are free at once."""
        if prompt in self.arrived:
            self.arrived.remove(prompt)
            return
        for queue in (self.prefilling, self.prefilled):
            if prompt in queue:
                queue.remove(prompt)
        members = [s for s in self.running if s.prompt is prompt]
        self.running = [s for s in self.running if s.prompt is not prompt]
        for sequence in (*members, *prompt.waiting):
            self.pool.free(sequence.own_blocks)
        self._release_prompt(prompt)

    # ------------------------------------------------------------------------------- blocks

    def _admit(self) -> None:
        waiting_to_start = sum(len(p.waiting) for p in (*self.prefilling, *self.prefilled))
        # Whoever is computed already comes before whoever is not.
        starved = any(not p.waiting[0].blocks for p in self.prefilled)
        room = self.max_sequences - len(self.running) - waiting_to_start
        passed_over: list[Prompt] = []
        while self.arrived and room > 0 and not starved:
            prompt = self.arrived.popleft()
            shared_ids = prompt.request.prompt_ids[: prompt.num_shared_blocks * BLOCK_SIZE]
            path = self.tree.match(shared_ids)
            if path and not path[-1].ready:
                passed_over.append(prompt)
                continue
            if not self._admit_prompt(prompt, path):
                passed_over.append(prompt)
                break
            room -= len(prompt.waiting)
        self.arrived.extendleft(reversed(passed_over))

    def _admit_prompt(self, prompt: Prompt, path: list[PrefixNode]) -> bool:
        """Give a prompt and its first sequence their blocks, if there are enough.

        ``path`` are the nodes that hold the prompt's beginning already.
        """
        shared_ids = prompt.request.prompt_ids[: prompt.num_shared_blocks * BLOCK_SIZE]
        self.tree.extend(path, (), [])  # in use from here on, so making room cannot evict it
        num_new = prompt.num_shared_blocks - len(path)
        blocks = self._allocate(num_new + 1 + prompt.num_own_blocks)
        if blocks is None:
            self.tree.release(path)
            return False
        prompt.path = self.tree.extend(path, shared_ids, blocks[:num_new])
        self.tree.release(path)
        prompt.blocks = array("i", (node.block for node in prompt.path))
        prompt.waiting[0].blocks = prompt.blocks + array("i", blocks[num_new + 1 :])
        prompt.blocks.append(blocks[num_new])
        prompt.num_cached = prompt.num_computed = len(path) * BLOCK_SIZE
        self.prefilling.append(prompt)
        return True

    def _take_own_blocks(self, sequence: Sequence) -> bool:
        prompt = sequence.prompt
        blocks = self._allocate(prompt.num_own_blocks)
        if blocks is not None:
            sequence.blocks = prompt.blocks[: prompt.num_shared_blocks] + array("i", blocks)
        return blocks is not None

    def _allocate(self, count: int) -> list[int] | None:
        missing = count - self.pool.num_free
        if missing > 0:
            if missing > self.tree.num_evictable():
                return None
            self.pool.free(self.tree.evict(missing))
        return self.pool.allocate(count)

    def _copy_tails(self, started: list[Sequence]) -> list[Sequence]:
        """Fork: each new sequence gets the prompt's last, partly filled block for itself."""
        targets: dict[Prompt, list[int]] = {}
        for sequence in started:
            sequence.num_computed = sequence.prompt.num_tokens
            targets.setdefault(sequence.prompt, []).append(sequence.own_blocks[0])
        for prompt, blocks in targets.items():
            assert prompt.tail_block is not None
            self.cache.copy_blocks(prompt.tail_block, blocks)
            if not prompt.waiting:
                self._free_tail(prompt)
        return started

    def _release_prompt(self, prompt: Prompt) -> None:
        self.pool.free(self.tree.release(prompt.path))
        self._free_tail(prompt)

    def _free_tail(self, prompt: Prompt) -> None:
        if prompt.tail_block is not None:
            self.pool.free([prompt.blocks.pop()])
