"""A batch of sequences in a llama.cpp context: shared prefix, prompts, then decoding steps.

It calls the functions of llama.cpp's ``llama.h`` through llama-cpp-python.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from archon.bench.peers.contender import PeerTask
from archon.errors import EngineError

_MICRO_BATCH = 512
_CELLS_MULTIPLE = 256
_TOP_K, _TEMPERATURE, _SEED = 40, 0.8, 1
_PREFIX = 0
"""Sequence id of the shared prefix; the decoding sequences are 1, 2, …"""


@dataclass(frozen=True, slots=True)
class Layout:
    """Options of a context: flash attention, and one KV buffer for all sequences."""

    flash_attention: bool
    kv_unified: bool


class LlamaSession:
    """A llama.cpp context with ``rows`` sequences that decode together.

    Raises
    ------
    EngineError
        llama.cpp cannot create the context, or a call fails.
    """

    def __init__(self, lib: Any, model: Any, task: PeerTask, rows: int, layout: Layout) -> None:
        self.lib, self.task, self.rows = lib, task, rows
        self.context = lib.llama_init_from_model(model, self._params(layout))
        if not self.context:
            raise EngineError(f"llama.cpp cannot create a context for {rows} sequences")
        self.memory = lib.llama_get_memory(self.context)
        self.batch_tokens = max(_MICRO_BATCH, task.workload.prompt_tokens, rows)
        self.batch = lib.llama_batch_init(self.batch_tokens, 0, 1)
        self.sampler = _make_sampler(lib)
        self.tokens: list[int] = []
        """The last token of every running sequence."""
        self.position = 0

    @property
    def num_running(self) -> int:
        return len(self.tokens)

    def begin(self, shared_ids: Sequence[int]) -> None:
        """Clear the context, and compute the shared prefix."""
        self.lib.llama_memory_clear(self.memory, False)
        self.tokens = []
        if shared_ids:
            self._decode([(_PREFIX, at, token, False) for at, token in enumerate(shared_ids)])

    def start(self, prompts: Sequence[Sequence[int]]) -> None:
        """Compute each prompt after the shared prefix, and sample the first tokens."""
        samples, shared = self.task.workload.samples_per_prompt, self.task.shared_tokens
        for sequence in range(1, self.rows + 1):
            self.lib.llama_memory_seq_rm(self.memory, sequence, -1, -1)
        self.tokens = []
        length = len(prompts[0])
        num_unshared = length - shared
        per_call = max(1, self.batch_tokens // num_unshared)
        for begin in range(0, len(prompts), per_call):
            numbers = range(begin, min(begin + per_call, len(prompts)))
            for number in numbers if shared else ():
                self._copy(_PREFIX, 1 + number * samples)
            self._decode(
                [
                    (1 + number * samples, at, prompts[number][at], at == length - 1)
                    for number in numbers
                    for at in range(shared, length)
                ]
            )
            ends = [num_unshared * (i + 1) - 1 for i in range(len(numbers)) for _ in range(samples)]
            self.tokens += self._sample(ends)
        for number in range(len(prompts)):
            first = 1 + number * samples
            for sequence in range(first + 1, first + samples):
                self._copy(first, sequence)
        self.position = length

    def step(self) -> None:
        """Decode and sample one token of every sequence."""
        self._decode(
            [(1 + row, self.position, token, True) for row, token in enumerate(self.tokens)]
        )
        self.tokens = self._sample(list(range(len(self.tokens))))
        self.position += 1

    def lengthen(self, count: int) -> None:
        """Append ``count`` arbitrary tokens to every sequence, without sampling."""
        entries = [
            (1 + row, self.position + i, token, False)
            for row, token in enumerate(self.tokens)
            for i in range(count)
        ]
        for start in range(0, len(entries), self.batch_tokens):
            self._decode(entries[start : start + self.batch_tokens])
        self.position += count

    def close(self) -> None:
        """Free the memory."""
        self.lib.llama_sampler_free(self.sampler)
        self.lib.llama_batch_free(self.batch)
        self.lib.llama_free(self.context)

    def _params(self, layout: Layout) -> Any:
        lib, w = self.lib, self.task.workload
        params = lib.llama_context_default_params()
        num_prompts = -(-self.rows // w.samples_per_prompt)
        shared = self.task.shared_tokens
        if layout.kv_unified:
            num_unshared = num_prompts * (w.prompt_tokens - shared)
            params.n_ctx = _padded(shared + num_unshared + self.rows * w.new_tokens)
        else:
            params.n_ctx = _padded(w.prompt_tokens + w.new_tokens) * (self.rows + 1)
        params.n_seq_max = self.rows + 1
        params.n_batch = max(_MICRO_BATCH, w.prompt_tokens, self.rows)
        params.n_ubatch = _MICRO_BATCH
        params.n_outputs_max = params.n_seq_max
        params.n_threads = params.n_threads_batch = self.task.threads
        params.flash_attn_type = (
            lib.LLAMA_FLASH_ATTN_TYPE_ENABLED
            if layout.flash_attention
            else lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        params.kv_unified = layout.kv_unified
        params.no_perf = True
        return params

    def _copy(self, source: int, target: int) -> None:
        self.lib.llama_memory_seq_cp(self.memory, source, target, -1, -1)

    def _decode(self, entries: Sequence[tuple[int, int, int, bool]]) -> None:
        """Run the model on entries of (sequence, position, token, whether to keep the logits)."""
        batch = self.batch
        for i, (sequence, position, token, keeps_logits) in enumerate(entries):
            batch.token[i], batch.pos[i] = token, position
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
            batch.logits[i] = keeps_logits
        batch.n_tokens = len(entries)
        status = self.lib.llama_decode(self.context, batch)
        if status:
            raise EngineError(f"llama_decode failed with status {status}")

    def _sample(self, entries: Sequence[int]) -> list[int]:
        """Sample a token from the logits of each of these entries of the last batch.

        All sequences share a sampler, so that its buffer, as large as the vocabulary, stays in the
        CPU cache.
        """
        sample = self.lib.llama_sampler_sample
        return [sample(self.sampler, self.context, entry) for entry in entries]


def _make_sampler(lib: Any) -> Any:
    chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_top_k(_TOP_K))
    lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_temp(_TEMPERATURE))
    lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_dist(_SEED))
    return chain


def _padded(cells: int) -> int:
    return -(-cells // _CELLS_MULTIPLE) * _CELLS_MULTIPLE
