"""Continuous-batching scheduler: selects the work of each step.

A step computes the newest token of every running sequence. If this leaves some of the
``max_step_tokens``, it also computes chunks of longer texts (*chunked prefill*): new prompts, and
resumed sequences, whose keys and values must be recomputed.

*Admission* allocates the blocks of a prompt, in the order of arrival. A prompt is admitted when
there is memory for it and for the worst case of one of its sequences. If another prompt is already
computing a prefix of it, it waits for that prompt, and later prompts may overtake it.

Each running sequence occupies a *slot*. A free slot goes to the request with the fewest running
sequences, so a request for hundreds of samples does not block the others.

Sequences allocate blocks as they grow, and give the blocks back that all sliding windows have
passed. If no block is free, prompts without running sequences
return their blocks, the latest prompt first. If that is not enough, the sequence that started last
is *preempted*: it keeps its tokens, returns its blocks, and is recomputed before any new sequence
starts. So the sequence that started first can always finish, every sequence eventually becomes the
first, and memory pressure never causes an error.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from archon.engine.cache.kv_cache import BLOCK_SIZE, BlockStorage
from archon.engine.scheduling.block_manager import BlockManager
from archon.engine.scheduling.sequence import Prompt, Sequence
from archon.engine.span import Span

MAX_AHEAD = 16
"""Maximum number of prompts that are computed before slots are free for their sequences."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The work of one step: prompts and sequences (*texts*), and the span of each to compute."""

    texts: list[Sequence | Prompt] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)

    def add(self, text: Sequence | Prompt, stop: int) -> None:
        """Add a text's tokens from the first uncomputed one to ``stop`` - 1."""
        start, num_shared = text.num_computed, text.num_shared_entries
        tables = tuple([table.blocks for table in text.tables])
        tokens, adapter = text.tokens(start, stop), text.request.adapter
        num_logits = max(0, stop - max(start, text.logits_from))
        hidden_E = text.hidden_E if isinstance(text, Prompt) and stop == text.num_tokens else None
        self.texts.append(text)
        self.spans.append(
            Span(tokens, start, tables, num_shared, num_logits, adapter, text.is_long, hidden_E)
        )


class Scheduler:
    """Queues of prompts and sequences.

    Parameters
    ----------
    max_sequences
        Number of slots, that is, of sequences that can run at the same time.
    max_step_tokens
        Maximum number of tokens in one step, which limits the memory for activations.
    """

    def __init__(self, cache: BlockStorage, max_sequences: int, max_step_tokens: int) -> None:
        self.memory = BlockManager(cache, max_step_tokens)
        self.max_sequences, self.max_step_tokens = max_sequences, max_step_tokens
        self.arrived: list[Prompt] = []
        """Prompts without blocks, in order of arrival."""
        self.admitted: dict[Prompt, None] = {}
        """Prompts with blocks; those that are not yet fully computed are also in ``prefilling``."""
        self.prefilling: dict[Prompt, None] = {}
        self.running: dict[Sequence, None] = {}
        self.num_slots = 0
        """Number of slots in use; a beam search occupies one per beam from its start."""
        self.preempted: list[Sequence] = []
        """Preempted sequences, in the order in which they first started."""
        self.num_prompt_tokens = self.num_cached_tokens = 0
        """Number of tokens of all prompts admitted so far; number of those that were cached."""
        self._numbers, self._tickets = count(), count()

    @property
    def has_work(self) -> bool:
        return bool(self.arrived or self.admitted)

    def enqueue(self, prompt: Prompt) -> None:
        """Queue a request."""
        prompt.number = next(self._numbers)
        self.arrived.append(prompt)

    def schedule(self) -> Batch:
        """Select the work of the next step."""
        self.memory.tree.drop_released_pins()
        self._lengthen()
        self._grow()
        self._resume()
        self._admit()
        batch = Batch()
        budget = self.max_step_tokens - len(self.running)
        recomputing = {s.prompt for s in self.running if s.num_tokens - s.num_computed > 1}
        for sequence in self.running:
            stop = sequence.num_needed
            if recomputing and sequence.request.beams and sequence.prompt in recomputing:
                stop -= 1  # a search continues once all of its beams are recomputed
            stop = min(stop, sequence.num_computed + 1 + budget)
            if stop > sequence.num_computed:
                budget -= stop - sequence.num_computed - 1
                batch.add(sequence, stop)
        self._add_prompts(batch, budget)
        return batch

    def _add_prompts(self, batch: Batch, budget: int) -> None:
        """Add up to ``budget`` tokens of prompts."""
        for prompt in list(self.prefilling):
            if prompt not in self.prefilling:  # it returned its blocks to the one before it
                continue
            stop = min(prompt.num_needed, prompt.num_computed + budget)
            if stop < prompt.num_needed:  # chunks end where blocks end
                stop = stop // BLOCK_SIZE * BLOCK_SIZE
            if stop <= prompt.num_computed:
                break
            grow, must_grow = partial(self.memory.grow_prompt, prompt, stop), not batch.spans
            if not self._allocate(grow, must_grow, keep=prompt):
                break
            budget -= stop - prompt.num_computed
            batch.add(prompt, stop)

    def mark_computed(self, batch: Batch) -> None:
        """Record that the keys and values of a batch are in the cache."""
        for text, span in zip(batch.texts, batch.spans, strict=True):
            text.num_computed = span.stop
            if isinstance(text, Prompt):
                self.memory.mark_computed(text, span.start, span.stop)
                if span.stop == text.num_needed:
                    del self.prefilling[text]

    def start_sequences(self) -> list[Sequence]:
        """Start sequences of computed prompts while slots are free; return the new sequences."""
        started: list[Sequence] = []
        ready = [p for p in self.admitted if p.waiting and p not in self.prefilling]
        while ready and not self.preempted:
            prompt = min(ready, key=lambda p: (len(p.running), p.number))
            if self.num_slots + prompt.group_size > self.max_sequences:
                break
            sequence = prompt.waiting[0]
            if not self._allocate(
                partial(self.memory.fork, sequence), not self.running, keep=prompt
            ):
                break
            prompt.waiting.popleft()
            sequence.ticket, sequence.num_computed = next(self._tickets), prompt.num_tokens
            self._set_cached(sequence, prompt.num_tokens)
            self._run(sequence)
            started.append(sequence)
            if not prompt.waiting:
                ready.remove(prompt)
        self.memory.copy_tails(started)
        for prompt in {sequence.prompt: None for sequence in started}:
            if not prompt.waiting:
                self.memory.free_tail(prompt)
        return started

    def branch(self, parents: list[Sequence]) -> list[Sequence]:
        """Return one sequence per entry of ``parents``, which are beams of one search.

        A beam that is listed several times is forked. A running beam that is not listed is
        stopped.
        """
        children: list[Sequence] = []
        for parent in parents:
            if parent in children:
                child = self.memory.share(parent)
                self._run(child)
                children.append(child)
            else:
                children.append(parent)
        for sequence in list(parents[0].prompt.running):
            if sequence not in children:
                self._stop(sequence)
        return children

    def finish(self, sequence: Sequence) -> None:
        """End a sequence and free its blocks; the last one also frees the prompt's blocks.

        The sequence's full blocks are kept in the prefix tree, because a judge's prompt or the next
        turn of the conversation may begin with them.
        """
        prompt = sequence.prompt
        if sequence.num_computed > prompt.num_tokens and not prompt.request.beams:
            self.memory.cache_own(sequence)
        self._stop(sequence)
        if not prompt.is_unfinished:
            self._retire(prompt)

    def finish_prompt(self, prompt: Prompt) -> None:
        """End a computed prompt that has nothing to sample, and free its blocks."""
        prompt.waiting.clear()
        self._retire(prompt)

    def cancel(self, prompt: Prompt) -> None:
        """Remove a request from every queue and free its blocks."""
        for sequence in list(prompt.running):
            self._stop(sequence)
        self.preempted = [s for s in self.preempted if s.prompt is not prompt]
        if prompt in self.admitted:
            self._requeue(prompt)
        self.arrived.remove(prompt)

    # ----------------------------------------------------------------- allocating blocks

    def _lengthen(self) -> None:
        """Preempt sequences that became long: all their keys have other rotary frequencies now."""
        for sequence in [s for s in self.running if s.outgrows]:
            if sequence in self.running:
                prompt = sequence.prompt
                group = list(prompt.running) if prompt.request.beams else [sequence]
                self._preempt(sequence)
                for member in group:
                    member.become_long()

    def _grow(self) -> None:
        """Allocate blocks for the newest token of each running sequence, in order of starting."""
        if self.memory.layout.has_windows:
            self._free_passed()
        short = [s for s in self.running if s.capacity < s.num_tokens or s.shares_last_entry]
        short = [s for s in short if self.memory.is_short(s)]
        short.sort(key=_ticket)
        for sequence in short:
            while sequence in self.running and not self.memory.grow([sequence]):
                if not self._requeue_latest():
                    self._preempt(max(self.running, key=_ticket))

    def _free_passed(self) -> None:
        """Give the blocks back that sliding windows have passed."""
        passing = {s.prompt: None for s in self.running if self.memory.free_passed(s)}
        for prompt in passing:
            # A sequence that starts or is recomputed reads the end of the shared entries.
            if not (prompt.waiting or prompt.num_preempted):
                self.memory.free_passed_by_all(prompt)

    def _restore_window(self, prompt: Prompt) -> bool:
        """Compute the end of a prompt again if a recomputed sequence needs it; return True if it
        is there."""
        if not self.memory.lacks_window(prompt):
            return True
        start = self.memory.restore_window(prompt)
        if start is not None and start < prompt.num_shared_entries * BLOCK_SIZE:
            prompt.num_computed, prompt.num_cached = start, min(prompt.num_cached, start)
            self.prefilling[prompt] = None
        return start is not None and prompt not in self.prefilling

    def _resume(self) -> None:
        """Resume preempted sequences in the order in which they started."""
        while self.preempted:
            prompt = self.preempted[0].prompt
            group = self.preempted[:1]
            if prompt.request.beams:
                group = [s for s in self.preempted if s.prompt is prompt]
            for sequence in group:
                sequence.num_computed = sequence.num_shared_entries * BLOCK_SIZE
            if (
                prompt not in self.admitted
                or prompt in self.prefilling
                or self.num_slots + prompt.group_size > self.max_sequences
                or not (not group[0].shares_prompt or self._restore_window(prompt))
                or not self._allocate(
                    partial(self.memory.grow, group), not self.running, keep=prompt
                )
            ):
                break
            del self.preempted[: len(group)]
            prompt.num_preempted -= len(group)
            for sequence in group:
                self._set_cached(sequence, min(sequence.num_cached, sequence.num_computed))
                self._run(sequence)

    def _admit(self) -> None:
        """Admit arrived prompts.

        If there are preempted sequences, admit only the prompt of the first one.
        """
        arrived = [self.preempted[0].prompt] if self.preempted else list(self.arrived)
        num_waiting = sum(len(p.waiting) * p.group_size for p in self.admitted)
        num_free_slots = self.max_sequences - self.num_slots - num_waiting
        num_ahead = sum(not p.running for p in self.admitted)
        for prompt in arrived:
            is_full = num_free_slots <= 0 and num_ahead >= MAX_AHEAD and not self.preempted
            if is_full or prompt in self.admitted:
                break
            match = self.memory.match(prompt)
            if match.is_pending:
                continue
            is_idle = not (self.running or self.prefilling)
            must_admit = is_idle and bool(self.preempted or not self.admitted)
            allocate = partial(self.memory.allocate_prompt, prompt, match)
            num_own = self.memory.num_own_needed(prompt)
            if not self._allocate(allocate, must_admit, num_more=num_own):
                break
            self.arrived.remove(prompt)
            self.admitted[prompt] = None
            prompt.num_computed = match.num_reusable * BLOCK_SIZE
            self.num_prompt_tokens += prompt.num_tokens
            self.num_cached_tokens += prompt.num_computed
            prompt.num_cached = min(prompt.num_cached, prompt.num_computed)
            if prompt.num_computed < prompt.num_needed:
                self.prefilling[prompt] = None
            num_free_slots -= len(prompt.waiting) * prompt.group_size
            num_ahead += 1

    def _allocate(
        self,
        allocate: Callable[[int], bool],
        must_succeed: bool,
        *,
        keep: Prompt | None = None,
        num_more: int = 0,
    ) -> bool:
        """Call ``allocate`` with the number of blocks that must remain available after it.

        This number is one entry per running sequence, plus ``num_more``. An allocation
        ``must_succeed`` if no other work can continue. In that case the number is 0, and prompts
        without running sequences, except ``keep``, return their blocks until the allocation
        succeeds.
        """
        if not must_succeed:
            return allocate(len(self.running) * self.memory.layout.entry_size + num_more)
        while not allocate(0):
            if not self._requeue_latest(keep):
                raise AssertionError("a request was accepted that does not fit the cache")
        return True

    # ----------------------------------------------------------------- freeing blocks

    def _requeue_latest(self, keep: Prompt | None = None) -> bool:
        """Requeue the latest prompt without running sequences; return False if there is none."""
        idle = [p for p in self.admitted if not p.running and p is not keep]
        if idle:
            self._requeue(max(idle, key=lambda p: p.number))
        return bool(idle)

    def _requeue(self, prompt: Prompt) -> None:
        """Free an admitted prompt's blocks and return the prompt to the arrived ones."""
        del self.admitted[prompt]
        self.prefilling.pop(prompt, None)
        self.memory.free_prompt(prompt)
        prompt.num_computed, prompt.last_logits_V = 0, None
        insort(self.arrived, prompt, key=lambda p: p.number)

    def _preempt(self, sequence: Sequence) -> None:
        prompt = sequence.prompt
        for member in list(prompt.running) if prompt.request.beams else [sequence]:
            self._stop(member)
            prompt.num_preempted += 1
            insort(self.preempted, member, key=_ticket)

    # ------------------------------------------------------------------------ counting

    @staticmethod
    def _set_cached(sequence: Sequence, num_cached: int) -> None:
        """Record how many prompt tokens were cached for a sequence.

        A computed prompt token counts as computed for only one sequence, the first one.
        """
        prompt = sequence.prompt
        sequence.num_cached = min(num_cached, prompt.num_cached)
        prompt.num_cached = prompt.num_tokens

    def _retire(self, prompt: Prompt) -> None:
        del self.admitted[prompt]
        self.memory.free_prompt(prompt)

    def _run(self, sequence: Sequence) -> None:
        prompt = sequence.prompt
        if not (prompt.request.beams and prompt.running):
            self.num_slots += prompt.group_size
        self.running[sequence] = prompt.running[sequence] = None

    def _stop(self, sequence: Sequence) -> None:
        prompt = sequence.prompt
        del self.running[sequence], prompt.running[sequence]
        if not (prompt.request.beams and prompt.running):
            self.num_slots -= prompt.group_size
        self.memory.free_own(sequence)


def _ticket(sequence: Sequence) -> int:
    return sequence.ticket
