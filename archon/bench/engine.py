"""Speed of the local engine on a ``Workload``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from archon.bench.machine import num_cores, peak_memory_bytes
from archon.bench.roofline import measure_roofline
from archon.bench.workload import Workload
from archon.engine.engine import Engine
from archon.engine.kernels.native import NativeDecoder
from archon.engine.loading import load_engine, open_model
from archon.engine.model.config import config_of
from archon.engine.model.precision import Precision
from archon.engine.sampling.request import GenerationRequest


def run_engine_bench(
    path: Path,
    *,
    precision: Precision,
    device: str | None = None,
    model_id: str = "",
    keep_in: Path | None = None,
    **workload: int,
) -> dict[str, Any]:
    """Load a model, and time a ``Workload`` on it with an empty cache.

    ``device``, ``model_id`` and ``keep_in`` are parameters of
    ``archon.engine.loading.load_engine``.

    Returns
    -------
    Figures by name. ``completion_tokens_per_second`` is over the wall time, including prefill.
    ``prefill_tokens_per_second`` is over the steps that compute prompt tokens, and
    ``decode_tokens_per_second`` over the other steps. ``decode_shares`` divides the time of these
    other steps among the phases of the compiled kernels and everything else; it is None without
    compiled kernels. ``peak_memory_bytes`` is that of the process, or of the device on CUDA.

    Raises
    ------
    EngineError
        The device is unavailable, or the workload does not fit.
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


def engine_shares(path: Path, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Measure the roofline of a model; return it with the share of it that the engine reached.

    Parameters
    ----------
    figures
        The result of ``run_engine_bench``.
    """
    workload = Workload.from_values(figures)
    bound = measure_roofline(config_of(open_model(path)), figures["precision"], num_cores())
    rate, decode_rate = (figures[f"{kind}_tokens_per_second"] for kind in ("completion", "decode"))
    return {
        "share_of_roofline": bound.share(workload, rate, decode_only=False),
        "decode_share_of_roofline": bound.share(workload, decode_rate, decode_only=True),
        "roofline": bound.figures(workload),
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
        has_prefill = bool(engine.scheduler.arrived or engine.scheduler.prefilling)
        num_running = len(engine.scheduler.running)
        kernel_seconds_before = _kernel_seconds(engine)
        start = time.perf_counter()
        generations += [g for finished in engine.step().values() for g in finished]
        seconds = time.perf_counter() - start
        if has_prefill:
            prefill_seconds += seconds
        else:
            decode_seconds += seconds
            num_decoded += num_running
            kernel_seconds += _kernel_seconds(engine) - kernel_seconds_before
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
    """Return phase → seconds spent in compiled kernels so far; empty without such kernels."""
    decoder = engine.decoder
    return Counter(decoder.seconds if isinstance(decoder, NativeDecoder) else {})


def _shares(kernel_seconds: Counter[str], decode_seconds: float) -> dict[str, float]:
    shares = {phase: seconds / decode_seconds for phase, seconds in kernel_seconds.items()}
    return {**shares, "outside": 1 - sum(shares.values())}


def _peak_memory_bytes(engine: Engine) -> int | None:
    if engine.decoder.device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return peak_memory_bytes()
