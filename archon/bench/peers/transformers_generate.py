"""``generate`` of the Transformers library, with the same weights in bfloat16.

The shared prefix is computed once, then the remainder of each prompt once; the cache is repeated
for the samples. Plain batches of prompts are not tried. They run the same steps after much more
prefill, because each sample computes its complete prompt, and are slower at every batch size.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
from archon.engine.loading import open_model
from archon.engine.model.weights import weights_of
from archon.errors import require

_SAMPLED = {"do_sample": True, "temperature": 0.8, "top_k": 40, "top_p": 1.0}


class TransformersGenerate:
    """Transformers as a contender: a loaded model with a calibrated batch size."""

    def __init__(self, task: PeerTask, settings: Mapping[str, Any] | None) -> None:
        torch.set_num_threads(task.threads)
        self.task = task
        self.model = load_model(Path(task.path), torch.bfloat16)
        self.settings: dict[str, Any] = dict(settings) if settings else self._calibrate()

    @torch.inference_mode()
    def run(self, seed: int) -> Round:
        torch.manual_seed(seed)
        w = self.task.workload
        prompts = self.task.prompts(seed, self.settings["num_prompts"])
        num_sequences = len(prompts) * w.samples_per_prompt
        clock = _Clock() if self.task.decode_only else None
        start = time.perf_counter()
        prefix = self.prefix_cache(prompts[0])
        once_seconds = time.perf_counter() - start
        for wave in waves(prompts, max(1, self.settings["rows"] // w.samples_per_prompt)):
            self.generate(wave, prefix, w.new_tokens, streamer=clock)
        end = time.perf_counter()
        if clock is not None:
            num_tokens = num_sequences * (w.new_tokens - 1)
            return Round(len(prompts), num_tokens, end - clock.first_token)
        return Round(len(prompts), num_sequences * w.new_tokens, end - start, once_seconds)

    def prefix_cache(self, prompt: Sequence[int]) -> Any:
        """Compute the keys and values of the shared prefix; None without a shared prefix."""
        shared = self.task.shared_tokens
        if not shared:
            return None
        ids_1T = torch.tensor([prompt[:shared]])
        return self.model(ids_1T, use_cache=True, logits_to_keep=1).past_key_values

    def generate(
        self, prompts: Sequence[Sequence[int]], prefix: Any, new_tokens: int, **how: Any
    ) -> Tensor:
        """Sample all completions of these prompts in one batch.

        Returns
        -------
        The tokens, shape (prompts · samples, new_tokens).
        """
        samples, shared = self.task.workload.samples_per_prompt, self.task.shared_tokens
        ids_PT = torch.tensor([list(prompt) for prompt in prompts])
        cache = copy.deepcopy(prefix)
        if cache is not None:
            cache.batch_repeat_interleave(len(prompts))
        before_last_PT = ids_PT[:, shared:-1]
        if before_last_PT.shape[1]:
            cache = self.model(
                before_last_PT, past_key_values=cache, use_cache=True, logits_to_keep=1
            ).past_key_values
        if cache is not None:
            cache.batch_repeat_interleave(samples)
        ids_BT = ids_PT.repeat_interleave(samples, dim=0)
        tokens_BT: Tensor = self.model.generate(
            ids_BT,
            attention_mask=torch.ones_like(ids_BT),
            past_key_values=cache,
            max_new_tokens=new_tokens,
            min_new_tokens=new_tokens,
            **{**_SAMPLED, **how},
        )
        return tokens_BT[:, ids_BT.shape[1] :]

    @torch.inference_mode()
    def _calibrate(self) -> dict[str, Any]:
        choices = candidate_rows(self.task)
        prompts = self.task.prompts(CALIBRATION_SEED, self.task.workload.num_prompts)
        prefix = self.prefix_cache(prompts[0])
        self._rate(choices[0], prompts, prefix)  # warm-up
        known = {middle_of(choices): self._rate(middle_of(choices), prompts, prefix)}
        rates = climb(choices, known, lambda rows: self._rate(rows, prompts, prefix))
        return {
            "format": "bf16",
            "prefix": "computed once, its cache repeated",
            **calibrated(self.task, rates),
        }

    def _rate(self, rows: int, prompts: Sequence[Sequence[int]], prefix: Any) -> float:
        """Return the tokens per second of a few decoding steps after the first."""
        clock = _Clock()
        some = prompts[: max(1, rows // self.task.workload.samples_per_prompt)]
        steps = CALIBRATION_STEPS
        self.generate(some, prefix, 1 + steps, stopping_criteria=[clock])
        return rows * steps / (time.perf_counter() - clock.first_token)


class _Clock:
    """Records the time of the first token of ``generate``, as a streamer or stopping criterion."""

    def __init__(self) -> None:
        self.first_token = 0.0
        self._num_calls = 0

    def put(self, value: Tensor) -> None:
        """Called as a streamer: first with the prompt, then with each token."""
        self._num_calls += 1
        if self._num_calls == 2:
            self.first_token = time.perf_counter()

    def end(self) -> None:
        """Called as a streamer at the end; does nothing."""

    def __call__(self, ids_BT: Tensor, scores: Any, **_: Any) -> Tensor:
        """Called as a stopping criterion after each token; stops no sequence."""
        self.first_token = self.first_token or time.perf_counter()
        return torch.zeros(len(ids_BT), dtype=torch.bool)


def load(task: PeerTask, settings: Mapping[str, Any] | None) -> TransformersGenerate:
    """Load the weights of the file, dequantized, into a Transformers model."""
    require("transformers", "peers")
    return TransformersGenerate(task, settings)


def load_model(path: Path, dtype: torch.dtype) -> Any:
    """Load the model of a file; no token ends its sequences."""
    from archon.bench.peers.transformers_model import transformers_model

    model = transformers_model(weights_of(open_model(path)), dtype)
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return model
