"""Evaluate a model in training by greedy samples that continue held-out texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from archon.engine.engine import Engine, EngineOptions
from archon.engine.model.decoder import Decoder
from archon.engine.model.precision import Precision
from archon.engine.sampling.request import Generation, GenerationRequest
from archon.engine.sampling.sampler import SamplingRule
from archon.engine.scheduling.sequence import Prompt
from archon.train.decoder import TrainableDecoder, TrainedWeights
from archon.train.sft_data import Text

_OPTIONS = EngineOptions(cache_bytes=256 << 20, max_sequences=64)


@dataclass(frozen=True, slots=True)
class Sample:
    """Greedy continuation of the beginning of a text."""

    token_ids: tuple[int, ...]
    is_exact: bool
    """True if the sample equals the remaining text, including the end-of-text token."""


def greedy_samples(
    model: TrainableDecoder,
    texts: Sequence[Text],
    end: int,
    max_tokens: int,
    precision: Precision,
    device: torch.device,
) -> list[Sample | None]:
    """Continue each text greedily from its first ``num_shown`` tokens.

    Parameters
    ----------
    end
        The token that ends a text.
    max_tokens
        Maximum number of tokens of a sample.
    precision
        Number format in which the engine computes.

    Returns
    -------
    One sample per text; None if the shown tokens and ``max_tokens`` exceed the model's context.
    """
    engine = Engine(Decoder(TrainedWeights(model), precision, device), options=_OPTIONS)
    prompts: dict[Prompt, int] = {}
    for index, text in enumerate(texts):
        if text.num_shown + max_tokens <= engine.context_length:
            request = GenerationRequest(
                prompt_ids=text.token_ids[: text.num_shown],
                draws=(0,),
                seed=0,
                rule=SamplingRule(),
                max_tokens=max_tokens,
                stop_ids=frozenset({end}),
            )
            prompts[engine.add(request)] = index
    done: dict[Prompt, list[Generation]] = {}
    while engine.has_work:
        done |= engine.step()
    samples: list[Sample | None] = [None] * len(texts)
    for prompt, index in prompts.items():
        [generation], text = done[prompt], texts[index]
        expected = text.token_ids[text.num_shown : -1]
        is_exact = generation.token_ids == expected and generation.finish_reason == "stop"
        samples[index] = Sample(generation.token_ids, is_exact)
    return samples
