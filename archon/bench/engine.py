"""Timing the engine on the workload of graphs: few prompts that begin alike, many draws of each."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from archon.engine.engine import Engine
from archon.engine.kernels.native import NativeDecoder
from archon.engine.loading import load_engine
from archon.engine.model.linear import Precision
from archon.engine.sampling.request import GenerationRequest
from archon.engine.sampling.sampler import SamplingRule

_RULE = SamplingRule(temperature=0.8, top_k=40)


@dataclass(frozen=True, slots=True)
class Workload:
    """Random prompts that share their beginning, and exactly ``new_tokens`` for each draw."""

    num_prompts: int
    samples_per_prompt: int
    prompt_tokens: int
    """Tokens of each prompt, the shared prefix included."""
    shared_prefix_tokens: int
    new_tokens: int

    def requests(self, vocab_size: int, seed: int = 0) -> list[GenerationRequest]:
        """The same requests for the same seed; no token ends a draw."""
        rng = random.Random(seed)

        def tokens(count: int) -> list[int]:
            return [rng.randrange(vocab_size) for _ in range(count)]

        shared = tokens(self.shared_prefix_tokens)
        num_own = self.prompt_tokens - self.shared_prefix_tokens
        return [
            GenerationRequest(
                prompt_ids=tuple(shared + tokens(num_own)),
                draws=tuple(range(self.samples_per_prompt)),
                seed=seed,
                rule=_RULE,
                max_tokens=self.new_tokens,
            )
            for _ in range(self.num_prompts)
        ]


def run_engine_bench(
    path: Path,
    *,
    precision: Precision,
    device: str | None = None,
    model_id: str = "",
    keep_in: Path | None = None,
    **workload: int,
) -> dict[str, Any]:
    """Load a model and time a ``Workload`` on it, with a cold cache.

    ``device``, ``model_id`` and ``keep_in`` are those of
    ``archon.engine.loading.load_engine``.

    Returns
    -------
    ``completion_tokens_per_second`` over the whole wall time, prefill included;
    ``prefill_tokens_per_second`` counts prompt tokens that were computed, over the steps that held
    any; ``decode_tokens_per_second`` covers the other steps; ``peak_memory_bytes`` is the process's
    (on CUDA, the device's); ``decode_shares`` tells where the time of those other steps went,
    where compiled kernels compute them: by their phases, and outside of them.

    Raises
    ------
    EngineError : there is no such device, or the workload does not fit.
    """
    shape = Workload(**workload)
    engine = load_engine(path, precision, device=device, model_id=model_id, keep_in=keep_in)
    vocab_size = engine.decoder.config.vocab_size
    _time(engine, replace(shape, num_prompts=1, new_tokens=4).requests(vocab_size, seed=1))
    timing = _time(engine, shape.requests(vocab_size))
    return {
        "precision": precision,
        "device": engine.decoder.device.type,
        **asdict(shape),
        **timing,
        "peak_memory_bytes": _peak_memory_bytes(engine),
    }


def _time(engine: Engine, requests: list[GenerationRequest]) -> dict[str, Any]:
    prefill_seconds = decode_seconds = 0.0
    num_decoded = 0
    kernel_seconds: Counter[str] = Counter()
    generations = []
    begin = time.perf_counter()
    for request in requests:
        engine.add(request)
    while engine.has_work:
        holds_prefill = bool(engine.scheduler.arrived or engine.scheduler.prefilling)
        num_running = len(engine.scheduler.running)
        in_kernels = _kernel_seconds(engine)
        start = time.perf_counter()
        generations += [g for finished in engine.step().values() for g in finished]
        seconds = time.perf_counter() - start
        if holds_prefill:
            prefill_seconds += seconds
        else:
            decode_seconds += seconds
            num_decoded += num_running
            kernel_seconds += _kernel_seconds(engine) - in_kernels
    wall_seconds = time.perf_counter() - begin
    num_completion = sum(len(g.token_ids) for g in generations)
    num_samples = len(requests[0].draws)
    num_cached = sum(g.cached_tokens for g in generations[::num_samples])
    num_prefilled = sum(len(r.prompt_ids) for r in requests) - num_cached
    return {
        "completion_tokens_per_second": num_completion / wall_seconds,
        "prefill_tokens_per_second": num_prefilled / prefill_seconds,
        "decode_tokens_per_second": num_decoded / decode_seconds if decode_seconds else 0.0,
        "wall_seconds": wall_seconds,
        "decode_shares": _shares(kernel_seconds, decode_seconds) if kernel_seconds else None,
    }


def _kernel_seconds(engine: Engine) -> Counter[str]:
    """Time in compiled kernels so far, by phase; empty where there are none."""
    decoder = engine.decoder
    return Counter(decoder.seconds if isinstance(decoder, NativeDecoder) else {})


def _shares(kernel_seconds: Counter[str], decode_seconds: float) -> dict[str, float]:
    shares = {phase: seconds / decode_seconds for phase, seconds in kernel_seconds.items()}
    return {**shares, "outside": 1 - sum(shares.values())}


def _peak_memory_bytes(engine: Engine) -> int | None:
    if engine.decoder.device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB
