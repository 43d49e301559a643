"""Queue of requests that are computed one after another, each with its samples in one batch.

The prompt is computed once, and its cache is forked into one row per sample. If the caches of all
samples do not fit the memory, some samples start after the others have ended. The running sequences
always have the same number of computed tokens, so they form a batch without padding.

A prompt is computed in chunks of fixed length. If it begins like the previous request's prompt, the
chunks that both have are not computed again. Equal chunks are computed from equal tensors, so a
sample does not depend on this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence as SequenceOf

from archon.engine.scheduling.sequence import Prompt, Sequence
from archon.engine.transformers.rows import Rows


class RequestQueue:
    """Queued requests, and the one in progress.

    Parameters
    ----------
    max_sequences
        Maximum number of sequences that run at a time.
    chunk_length
        Number of tokens in each chunk of a prompt but the last one.
    keeps_chunks
        True to keep the chunks of the last prompt for the next one.
    cache_bytes
        Memory for the caches of the running sequences. One sequence, and all beams of a search, run
        in any case.
    """

    def __init__(
        self, max_sequences: int, chunk_length: int, keeps_chunks: bool, cache_bytes: int
    ) -> None:
        self.max_sequences, self._cache_bytes = max_sequences, cache_bytes
        self._chunk_length, self._keeps_chunks = chunk_length, keeps_chunks
        self.arrived: deque[Prompt] = deque()
        self.prompt: Prompt | None = None
        """The request in progress."""
        self.prompt_rows: Rows | None = None
        """One row: the prompt, as far as it is computed."""
        self.running: dict[Sequence, int] = {}
        """Sequences that can continue → their rows in ``rows``."""
        self.rows: Rows | None = None
        self._previous: tuple[SequenceOf[int], Rows] | None = None
        """Whole chunks of the previous prompt, and a row that begins with them."""
        self.num_prompt_tokens = self.num_cached_tokens = 0

    @property
    def has_work(self) -> bool:
        return self.prompt is not None or bool(self.arrived)

    def enqueue(self, prompt: Prompt) -> None:
        """Queue a request."""
        self.arrived.append(prompt)

    def next_prompt(self, empty: Rows) -> None:
        """Begin with the next request. Its row is ``empty`` or has chunks of the previous one."""
        self.prompt = prompt = self.arrived.popleft()
        rows = self._known_chunks(prompt)
        self.prompt_rows = rows or empty
        prompt.num_computed = prompt.num_cached = self.prompt_rows.token_ids_BT.shape[1]
        self.num_prompt_tokens += prompt.num_tokens
        self.num_cached_tokens += prompt.num_cached

    def _known_chunks(self, prompt: Prompt) -> Rows | None:
        if self._previous is None:
            return None
        known, rows = self._previous
        length = self._chunk_length
        # The last token must be computed, for its logits.
        most = min(len(known), prompt.num_tokens - 1) // length * length
        ids = prompt.request.prompt_ids
        starts = range(0, most, length)
        num_known = next(
            (at for at in starts if ids[at : at + length] != known[at : at + length]), most
        )
        return rows.first_tokens(num_known) if num_known else None

    def start_sequences(self) -> list[Sequence]:
        """Start sequences of the computed prompt if none runs; return them."""
        prompt = self.prompt
        if prompt is None or self.running or prompt.num_computed < prompt.num_tokens:
            return []
        assert self.prompt_rows is not None
        started = [prompt.waiting.popleft() for _ in range(self._num_startable(prompt))]
        self.rows = self.prompt_rows
        for sequence in started:
            sequence.num_computed = prompt.num_tokens
            # The prompt counts as computed for one sequence only.
            sequence.num_cached, prompt.num_cached = prompt.num_cached, prompt.num_tokens
            self.running[sequence] = 0
            prompt.running[sequence] = None
        return started

    def _num_startable(self, prompt: Prompt) -> int:
        assert self.prompt_rows is not None
        length = prompt.num_tokens + prompt.request.max_tokens
        num_bytes = self.prompt_rows.num_bytes * length / prompt.num_tokens
        fitting = int(self._cache_bytes / max(num_bytes, 1))
        return min(len(prompt.waiting), max(1, min(fitting, self.max_sequences)))

    def batch(self) -> Rows:
        """Return the rows of the running sequences, in the order of ``running``."""
        assert self.rows is not None
        assert self.prompt is not None
        rows = list(self.running.values())
        # The prompt's row must stay as it is while further sequences wait to be forked from it.
        is_free = self.rows is not self.prompt_rows or not self.prompt.waiting
        if not is_free or rows != list(range(len(self.rows.token_ids_BT))):
            self.rows = self.rows.select(rows)
            self.running = dict(zip(self.running, range(len(rows)), strict=True))
        return self.rows

    def branch(self, parents: list[Sequence]) -> list[Sequence]:
        """Return one sequence per entry of ``parents``; see ``Scheduler.branch``."""
        children: list[Sequence] = []
        running: dict[Sequence, int] = {}
        for parent in parents:
            child = parent.copy() if parent in running else parent
            running[child] = self.running[parent]
            children.append(child)
        self.running = running
        parents[0].prompt.running = dict.fromkeys(running)
        return children

    def finish(self, sequence: Sequence) -> None:
        """End a sequence, and its request with the last one."""
        del self.running[sequence], sequence.prompt.running[sequence]
        if not sequence.prompt.is_unfinished:
            self._clear()

    def cancel(self, prompt: Prompt) -> None:
        """Remove a request."""
        if prompt is self.prompt:
            prompt.running.clear()
            self._clear()
        else:
            self.arrived.remove(prompt)

    def _clear(self) -> None:
        assert self.prompt is not None
        length = self._chunk_length
        num_known = self.prompt.num_computed // length * length
        rows = self.prompt_rows
        if num_known and self._keeps_chunks and rows is not None and rows.cache is not None:
            self._previous = (self.prompt.request.prompt_ids[:num_known], rows)
        self.prompt = self.prompt_rows = self.rows = None
        self.running = {}
