"""Record decode steps as CUDA graphs, once per shape, and replay them.

A decode step of a small model has hundreds of short kernels, and launching them takes longer than
running them. A CUDA graph launches all of them with one call, but always with the same shapes and
addresses. So steps are padded to few shapes (``padding``), and their inputs are copied into fixed
tensors. A shape is recorded when it occurs for the third time. Before that, and on devices other
than CUDA, its padded steps are computed kernel by kernel, with the same result. Steps with several
tokens of one text, with adapters, or with hidden states are computed without padding, and so are
all steps of models with sliding windows or experts: their shapes depend on more than the number of
tokens.

No GPU has recorded or replayed a step yet (see ``docs/gpu.md``); the padded steps are tested on the
CPU.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from archon.engine.cache.kv_cache import KVCache
from archon.engine.cuda.padding import (
    MAX_ROWS,
    Signature,
    is_decode,
    padded_step,
    signature,
    step_tensors,
    to_device,
)
from archon.engine.model.decoder import Decoder
from archon.engine.model.step_input import StepInput, build_step
from archon.engine.sampling.sampler import sample
from archon.engine.span import Span

RECORDED_AT = 3
"""A shape is recorded when it occurs for the RECORDED_AT-th time."""
MAX_GRAPHS = 64
"""Maximum number of graphs. To record another one, the least recently used one is dropped."""
_CPU = torch.device("cpu")
_WARM_UP_STEPS = 2


class GraphedDecoder:
    """A ``SpanDecoder`` that replays decode steps.

    The next call may overwrite the returned logits.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.config, self.precision, self.device = decoder.config, decoder.precision, decoder.device
        self.bytes_per_block, self.adapters = decoder.bytes_per_block, decoder.adapters
        self.add_adapter, self.drop_adapter = decoder.add_adapter, decoder.drop_adapter
        self._seen: Counter[Signature] = Counter()
        self._graphs: OrderedDict[Signature, _Graph] = OrderedDict()
        self._cache: KVCache | None = None
        self._logits_RV: Tensor | None = None
        """Logits that all graphs write to; separate tensors would take memory for each graph."""
        self._records = decoder.device.type == "cuda"

    sample = staticmethod(sample)

    def new_cache(self, num_blocks: int) -> KVCache:
        """Return an empty cache with an additional scratch block."""
        dtype = self.decoder.cache_dtype
        return KVCache(self.config, num_blocks, dtype, self.device, num_scratch_blocks=1)

    @torch.inference_mode()
    def __call__(self, spans: Sequence[Span], cache: KVCache) -> Tensor:
        """Run one step (``archon.engine.decoder_protocol``)."""
        is_plain = self.config.windows == (None,) and self.config.experts is None
        if not is_plain or not is_decode(spans) or any(s.adapter or s.is_long for s in spans):
            return self.decoder(spans, cache)
        step = build_step(spans, _CPU, cache.dtype)
        padded = padded_step(step, cache.num_blocks, cache.dtype)
        return self._padded_logits(padded, cache)[: len(spans)]

    def _padded_logits(self, step: StepInput, cache: KVCache) -> Tensor:
        if cache is not self._cache:  # graphs have the addresses of one cache
            self._graphs.clear()
            self._cache = cache
        key = signature(step)
        self._seen[key] += 1
        if key not in self._graphs:
            if not self._records or self._seen[key] < RECORDED_AT:
                return self.decoder.compute(to_device(step, self.device), cache)
            self._record(key, step, cache)
        self._graphs.move_to_end(key)
        return self._graphs[key].replay(step)

    def _record(self, key: Signature, step: StepInput, cache: KVCache) -> None:
        # All graphs share the first one's memory, since no two of them run at the same time.
        pool = next((graph.pool() for graph in self._graphs.values()), None)
        if len(self._graphs) >= MAX_GRAPHS:
            self._graphs.popitem(last=False)
        if self._logits_RV is None:
            self._logits_RV = torch.empty(MAX_ROWS, self.config.vocab_size, device=self.device)
        logits_NV = self._logits_RV[: len(step.token_N)]
        self._graphs[key] = _Graph(
            self.decoder, to_device(step, self.device), cache, logits_NV, pool
        )


class _Graph:
    """A recorded step with its input tensors and its logits."""

    def __init__(
        self, decoder: Decoder, step: StepInput, cache: KVCache, logits_NV: Tensor, pool: Any
    ) -> None:
        self._inputs, self._logits_NV = step_tensors(step), logits_NV
        # Kernels and libraries initialise themselves at first use, which cannot be recorded. The
        # step may be computed repeatedly: it writes the same keys to the same slots.
        side = torch.cuda.Stream(decoder.device)
        side.wait_stream(torch.cuda.current_stream(decoder.device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP_STEPS):
                decoder.compute(step, cache)
        torch.cuda.current_stream(decoder.device).wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool):
            logits_NV.copy_(decoder.compute(step, cache))

    def pool(self) -> Any:
        """Return the memory pool that the graph allocates from."""
        return self._graph.pool()

    def replay(self, step: StepInput) -> Tensor:
        """Compute the logits, (N, V), of a padded step of the recorded shape."""
        for tensor, value in zip(self._inputs, step_tensors(step), strict=True):
            tensor.copy_(value, non_blocking=True)
        self._graph.replay()
        return self._logits_NV
