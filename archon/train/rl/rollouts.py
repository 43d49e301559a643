"""Rollouts: replies that the engine samples from the current policy, with log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from archon.engine.engine import Engine, EngineOptions
from archon.engine.loading import add_adapter, load_decoder
from archon.engine.model.linear import Precision
from archon.engine.model.outlier_rotation import OutlierRotatedWeights
from archon.engine.model.weights import WeightSource
from archon.engine.sampling.request import Generation, GenerationRequest
from archon.engine.sampling.sampler import SamplingRule
from archon.engine.scheduling.sequence import Prompt
from archon.train.decoder import TrainableDecoder, TrainedWeights
from archon.train.lora import adapter_of

ADAPTER_NAME = "policy"
OPTIONS = EngineOptions(cache_bytes=512 << 20, max_sequences=256)


@dataclass(frozen=True, slots=True, eq=False)
class Rollout:
    """One reply to a prompt."""

    token_ids: tuple[int, ...]
    """Of prompt and reply; a sampled end-of-sequence is a token like any other."""
    num_given: int
    """Tokens of the prompt."""
    logprobs: tuple[float, ...]
    """Of the reply's tokens, as the engine computed them, at the sampling temperature."""
    is_ended: bool
    """Whether it ended with an end-of-sequence and was not truncated."""

    @property
    def reply_ids(self) -> tuple[int, ...]:
        """The sampled tokens."""
        return self.token_ids[self.num_given :]


class Policy(Protocol):
    """A model in training, for an engine to sample from."""

    def current(self) -> tuple[Engine, str]:
        """An engine with the current weights, and the adapter that requests must name."""
        ...


class AdaptedPolicy:
    """One engine for the frozen weights, and a fresh copy of the adapter for every step.

    Parameters
    ----------
    engine
        Runs the weights that the adapter is for.
    source
        The same weights.
    """

    def __init__(self, model: TrainableDecoder, engine: Engine, source: WeightSource) -> None:
        self._model, self._engine, self._source = model, engine, OutlierRotatedWeights(source)

    def current(self) -> tuple[Engine, str]:
        """See ``Policy.current``."""
        if ADAPTER_NAME in self._engine.decoder.adapters:
            self._engine.drop_adapter(ADAPTER_NAME)
        adapter = replace(adapter_of(self._model), digest=ADAPTER_NAME)
        add_adapter(self._engine, self._source, adapter)
        return self._engine, ADAPTER_NAME


class WholePolicy:
    """A fresh engine for every step, on a copy of all weights.

    Parameters
    ----------
    keep_in
        Folder of compiled kernels, for int8 and int4.
    context_length
        Tokens of prompt and reply together; by default the model's own.
    """

    def __init__(
        self,
        model: TrainableDecoder,
        precision: Precision,
        device: torch.device,
        keep_in: Path | None = None,
        context_length: int | None = None,
    ) -> None:
        self._model, self._precision, self._device = model, precision, device
        self._keep_in, self._context_length = keep_in, context_length

    def current(self) -> tuple[Engine, str]:
        """See ``Policy.current``."""
        weights = TrainedWeights(self._model)
        decoder = load_decoder(weights, self._precision, self._device, keep_in=self._keep_in)
        return Engine(decoder, "", OPTIONS, self._context_length), ""


def sample_rollouts(
    policy: Policy,
    prompts: Sequence[tuple[int, ...]],
    group: int,
    *,
    temperature: float,
    max_tokens: int,
    stop_ids: frozenset[int],
    seed: int,
) -> list[list[Rollout]]:
    """Sample ``group`` replies to each prompt; greedy ones at temperature 0.

    Every token is sampled from the whole distribution: top-k and top-p would sample from another
    distribution than the one that is learned.
    """
    engine, adapter = policy.current()
    requests: list[Prompt] = []
    done: dict[Prompt, list[Generation]] = {}
    try:
        for index, prompt_ids in enumerate(prompts):
            request = GenerationRequest(
                prompt_ids=prompt_ids,
                # A prompt that occurs twice has different samples each time.
                draws=tuple(range(index * group, (index + 1) * group)),
                seed=seed,
                rule=SamplingRule(temperature),
                max_tokens=max_tokens,
                # Not a stop token: the end is sampled like any token, with its log-probability.
                on_token=lambda _, token: token in stop_ids,
                logprobs=True,
                logprob_temperature=temperature or 1,
                adapter=adapter,
            )
            requests.append(engine.add(request))
        while engine.has_work:
            done |= engine.step()
    finally:
        # Unfinished prompts would keep the adapter from being replaced.
        for prompt in requests:
            engine.cancel(prompt)
    return [[_rollout(prompt, drawn) for drawn in done[prompt]] for prompt in requests]


def _rollout(prompt: Prompt, drawn: Generation) -> Rollout:
    assert drawn.logprobs is not None
    return Rollout(
        token_ids=(*prompt.request.prompt_ids, *drawn.token_ids),
        num_given=prompt.num_tokens,
        logprobs=drawn.logprobs,
        is_ended=drawn.finish_reason == "stop",
    )
