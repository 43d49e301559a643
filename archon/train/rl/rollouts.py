"""Rollouts: replies that the engine samples from the current policy, with log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from archon.engine.engine import Engine, EngineOptions
from archon.engine.loading import add_adapter, load_decoder
from archon.engine.model.outlier_rotation import OutlierRotatedWeights
from archon.engine.model.precision import Precision
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
    """One sampled reply to a prompt."""

    token_ids: tuple[int, ...]
    """Tokens of prompt and reply, including the end token if it was sampled."""
    num_given: int
    """Number of tokens of the prompt."""
    logprobs: tuple[float, ...]
    """Log-probability of each token of the reply, as computed by the engine at the sampling
    temperature."""
    is_ended: bool
    """True if the reply ends with an end token, False if it was truncated."""

    @property
    def reply_ids(self) -> tuple[int, ...]:
        """The sampled tokens."""
        return self.token_ids[self.num_given :]


class Policy(Protocol):
    """A model in training, from which replies can be sampled with an engine."""

    def current(self) -> tuple[Engine, str]:
        """Return an engine with the current weights, and the adapter name that requests must use.

        The adapter name is "" if the engine has no adapter.
        """
        ...


class AdaptedPolicy:
    """Policy with an adapter: a single engine runs the frozen weights.

    ``current`` replaces the engine's adapter with a copy of the adapter in training.

    Parameters
    ----------
    engine
        Engine of the frozen weights.
    source
        The frozen weights.
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


class FullPolicy:
    """Policy without an adapter: ``current`` makes a new engine with a copy of all weights.

    Parameters
    ----------
    keep_in
        Folder in which compiled kernels, which int8 and int4 use, are cached.
    context_length
        Maximum number of tokens of prompt and reply together; by default the model's context
        length.
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
    """Sample ``group`` replies to each prompt; at temperature 0, sampling is greedy.

    Tokens are sampled from the complete distribution. With top-k or top-p, they would be sampled
    from a distribution other than the one whose probabilities the loss uses.

    Returns
    -------
    One group of rollouts per prompt.
    """
    engine, adapter = policy.current()
    requests: list[Prompt] = []
    done: dict[Prompt, list[Generation]] = {}
    try:
        for index, prompt_ids in enumerate(prompts):
            request = GenerationRequest(
                prompt_ids=prompt_ids,
                # Equal prompts get different samples.
                draws=tuple(range(index * group, (index + 1) * group)),
                seed=seed,
                rule=SamplingRule(temperature),
                max_tokens=max_tokens,
                # Unlike ``stop_ids``, this keeps the end token and its log-probability.
                on_token=lambda _, token: token in stop_ids,
                logprobs=True,
                logprob_temperature=temperature or 1,
                adapter=adapter,
            )
            requests.append(engine.add(request))
        while engine.has_work:
            done |= engine.step()
    finally:
        # An adapter that unfinished requests use, as after an error, could not be replaced.
        for prompt in requests:
            engine.cancel(prompt)
    return [[_rollout(prompt, generation) for generation in done[prompt]] for prompt in requests]


def _rollout(prompt: Prompt, generation: Generation) -> Rollout:
    assert generation.logprobs is not None
    return Rollout(
        token_ids=(*prompt.request.prompt_ids, *generation.token_ids),
        num_given=prompt.num_tokens,
        logprobs=generation.logprobs,
        is_ended=generation.finish_reason == "stop",
    )
