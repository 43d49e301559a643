"""Texts for calibration that need no data: what the model itself writes.

A model's own texts, drawn at temperature 1, are what it has learnt from as well as it has learnt
it. Each begins with a random token, so that they are about many things (LLM-QAT: Liu et al. 2023,
arXiv 2305.17888).
"""

from __future__ import annotations

import logging
import random

from archon.engine.engine import Engine, EngineOptions
from archon.engine.kv_cache import num_blocks_for
from archon.engine.sequence import GenerationRequest, SamplingRule
from archon.engine.span import SpanDecoder

logger = logging.getLogger("archon.engine")

_NUM_TEXTS = 96
_NUM_TOKENS = 64
_SEED = 2210


def own_texts(decoder: SpanDecoder) -> list[tuple[int, ...]]:
    """Token ids of some texts; the same for the same decoder."""
    logger.info("the model writes the texts that its weights are rounded for")
    engine = Engine(decoder, options=EngineOptions(cache_bytes=_cache_bytes(decoder)))
    rng = random.Random(_SEED)
    tokens = [rng.randrange(decoder.config.vocab_size) for _ in range(_NUM_TEXTS)]
    length = min(_NUM_TOKENS, engine.context_length)
    prompts = [engine.add(_request(token, i, length)) for i, token in enumerate(tokens)]
    texts = {}
    while engine.has_work:
        for prompt, [generation] in engine.step().items():
            texts[prompt] = (*prompt.request.prompt_ids, *generation.token_ids)
    return [texts[prompt] for prompt in prompts]


def _request(token: int, draw: int, length: int) -> GenerationRequest:
    return GenerationRequest(
        prompt_ids=(token,),
        draws=(draw,),
        seed=_SEED,
        rule=SamplingRule(temperature=1.0),
        max_tokens=length - 1,
    )


def _cache_bytes(decoder: SpanDecoder) -> int:
    """Room for all of the texts at once."""
    return _NUM_TEXTS * (num_blocks_for(_NUM_TOKENS) + 2) * decoder.bytes_per_block
