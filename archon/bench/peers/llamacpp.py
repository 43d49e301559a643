"""Run llama.cpp in its fastest configuration, via the low-level API of llama-cpp-python.

The shared prefix is computed once and copied to every sequence. Each call decodes one token per
sequence of the batch. Before the first round, a calibration finds the fastest attention, cache
layout and batch size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from archon.bench.peers.calibration import (
    CALIBRATION_SEED,
    CALIBRATION_STEPS,
    calibrated,
    candidate_rows,
    climb,
    middle_of,
    waves,
)
from archon.bench.peers.contender import PeerTask, Round
from archon.bench.peers.llamacpp_session import Layout, LlamaSession
from archon.errors import ModelError, UsageError, require
from archon.storage.atomic import replacing
from archon.weights import cache_dir

LAYOUTS = [Layout(flash, unified) for flash in (True, False) for unified in (False, True)]
_MAX_SEQUENCES = 256


class LlamaCpp:
    """llama.cpp as a contender: a loaded model with calibrated settings."""

    def __init__(self, lib: Any, path: Path, task: PeerTask, settings: Mapping[str, Any]) -> None:
        self.lib, self.task = lib, task
        self.model = lib.llama_model_load_from_file(
            str(path).encode(), lib.llama_model_default_params()
        )
        if not self.model:
            raise ModelError(f"llama.cpp cannot load {path}")
        self.settings = dict(settings)
        if "rows" not in self.settings:
            self.settings |= self._calibrate()
        layout = Layout(self.settings["flash_attention"], self.settings["kv_unified"])
        self.session = LlamaSession(lib, self.model, task, self.settings["rows"], layout)

    def run(self, seed: int) -> Round:
        w, session = self.task.workload, self.session
        prompts = self.task.prompts(seed, self.settings["num_prompts"])
        num_sequences = len(prompts) * w.samples_per_prompt
        start = time.perf_counter()
        session.begin(prompts[0][: self.task.shared_tokens])
        once_seconds = time.perf_counter() - start
        decode_seconds = 0.0
        for wave in waves(prompts, max(1, self.settings["rows"] // w.samples_per_prompt)):
            session.start(wave)
            decode_start = time.perf_counter()
            for _ in range(w.new_tokens - 1):
                session.step()
            decode_seconds += time.perf_counter() - decode_start
        if self.task.decode_only:
            return Round(len(prompts), num_sequences * (w.new_tokens - 1), decode_seconds)
        seconds = time.perf_counter() - start
        return Round(len(prompts), num_sequences * w.new_tokens, seconds, once_seconds)

    def _calibrate(self) -> dict[str, Any]:
        """Find the fastest layout at a medium batch size, then the fastest batch size for it."""
        choices = candidate_rows(self.task)
        if choices[-1] >= _MAX_SEQUENCES:
            raise UsageError(
                f"llama.cpp decodes at most {_MAX_SEQUENCES - 1} samples per prompt at once; "
                "lower --samples-per-prompt"
            )
        medium = middle_of(choices)
        by_layout = {layout: self._rate(medium, layout) for layout in LAYOUTS}
        layout = max(by_layout, key=by_layout.__getitem__)
        known = {medium: by_layout[layout]}
        rates = climb(choices, known, lambda rows: self._rate(rows, layout))
        return {
            "flash_attention": layout.flash_attention,
            "kv_unified": layout.kv_unified,
            **calibrated(self.task, rates),
            "system_info": self.lib.llama_print_system_info().decode().strip(),
        }

    def _rate(self, rows: int, layout: Layout) -> float:
        """Return the tokens per second of the fastest of a few steps halfway through decoding."""
        session = LlamaSession(self.lib, self.model, self.task, rows, layout)
        try:
            w = self.task.workload
            prompts = self.task.prompts(CALIBRATION_SEED, max(1, rows // w.samples_per_prompt))
            session.begin(prompts[0][: self.task.shared_tokens])
            session.start(prompts)
            session.lengthen(max(0, w.new_tokens // 2 - 1 - CALIBRATION_STEPS))
            num_steps = max(1, min(CALIBRATION_STEPS, w.new_tokens - 1))
            return session.num_running / min(_seconds(session.step) for _ in range(num_steps))
        finally:
            session.close()


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def load(task: PeerTask, settings: Mapping[str, Any] | None) -> LlamaCpp:
    """Load the weights in the format of the file."""
    return _load(task, settings)


def load_q4_0(task: PeerTask, settings: Mapping[str, Any] | None) -> LlamaCpp:
    """Load the weights requantized to Q4_0, the format of llama.cpp's fastest kernels."""
    return _load(task, settings, "Q4_0")


def load_q8_0(task: PeerTask, settings: Mapping[str, Any] | None) -> LlamaCpp:
    """Load the weights requantized to Q8_0."""
    return _load(task, settings, "Q8_0")


def _load(
    task: PeerTask, settings: Mapping[str, Any] | None, requantize_to: str | None = None
) -> LlamaCpp:
    lib, path = library(), Path(task.path)
    if path.is_dir():
        raise ModelError(f"llama.cpp reads GGUF files, and {path} is a folder")
    if requantize_to is not None:
        path = requantized(lib, path, requantize_to, task.threads)
    return LlamaCpp(lib, path, task, settings or {"format": requantize_to or "the file itself"})


def library() -> Any:
    """Return the initialized ``llama_cpp`` module."""
    lib = require("llama_cpp.llama_cpp", "peers")
    lib.llama_backend_init()
    return lib


def requantized(lib: Any, path: Path, name: str, threads: int) -> Path:
    """Requantize a file to another format; return the path of the result in the cache folder.

    Raises
    ------
    ModelError
        llama.cpp cannot requantize the file.
    """
    stat = path.stat()
    folder = cache_dir() / "peers"
    target = folder / f"{path.stem}-{stat.st_size}-{stat.st_mtime_ns}-{name}.gguf"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    params = lib.llama_model_quantize_default_params()
    params.ftype = getattr(lib, f"LLAMA_FTYPE_MOSTLY_{name}")
    params.nthread, params.allow_requantize = threads, True
    quantize: Callable[..., int] = lib.llama_model_quantize
    with replacing(target, concurrent=True) as part:
        if quantize(str(path).encode(), str(part).encode(), params):
            raise ModelError(f"llama.cpp cannot requantize {path} to {name}")
    return target
