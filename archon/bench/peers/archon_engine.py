"""Archon's engine as a contender."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from archon.bench.peers.contender import PeerTask, Round
from archon.engine.loading import load_engine
from archon.engine.model.precision import Precision
from archon.engine.sampling.request import GenerationRequest
from archon.weights import cache_dir

_WARM_UP_SEED = 1_000_000
_WARM_UP_TOKENS = 4


class ArchonEngine:
    """Archon's engine as a contender. It receives all requests of the workload at once."""

    def __init__(self, task: PeerTask) -> None:
        torch.set_num_threads(task.threads)
        self.task = task
        self.engine = load_engine(
            Path(task.path),
            cast(Precision, task.precision),
            model_id=task.digest,
            device="cpu",
            keep_in=cache_dir(),
        )
        self.settings: dict[str, Any] = {"precision": task.precision}
        self._finish([replace(self._requests(_WARM_UP_SEED)[0], max_tokens=_WARM_UP_TOKENS)])

    def run(self, seed: int) -> Round:
        requests = self._requests(seed)
        num_sequences = sum(len(request.draws) for request in requests)
        num_tokens = num_sequences * self.task.workload.new_tokens
        start = time.perf_counter()
        first_token = self._finish(requests)
        end = time.perf_counter()
        if self.task.decode_only:
            return Round(len(requests), num_tokens - num_sequences, end - first_token)
        return Round(len(requests), num_tokens, end - start)

    def _requests(self, seed: int) -> list[GenerationRequest]:
        return self.task.workload.requests(self.task.vocab_size, seed)

    def _finish(self, requests: list[GenerationRequest]) -> float:
        """Run all requests; return the time (``perf_counter``) when every sample had a first token.

        Returns 0 unless only decoding is timed.
        """
        first_token = 0.0
        started: set[tuple[int, int]] = set()

        def listen(prompt: int, index: int, token: int) -> bool:
            nonlocal first_token
            if (prompt, index) not in started:
                started.add((prompt, index))
                first_token = time.perf_counter()
            return False

        for number, request in enumerate(requests):
            if self.task.decode_only:
                request = replace(request, on_token=partial(listen, number))
            self.engine.add(request)
        while self.engine.has_work:
            self.engine.step()
        return first_token


def load(task: PeerTask, settings: Mapping[str, Any] | None) -> ArchonEngine:
    """Load the engine in the precision of the task. It needs no calibration."""
    return ArchonEngine(task)
