"""How well a model predicts a text: the measure of what a precision costs.

Perplexity is exp of the mean negative log-likelihood of a token given those before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from archon.engine.attention import AttentionPlan, FreshPart
from archon.engine.decoder import Decoder, StepInput
from archon.engine.kv_cache import BLOCK_SIZE, KVCache, num_blocks_for
from archon.engine.sampler import token_logprobs


def perplexity(decoder: Decoder, token_ids: Sequence[int], window: int = 512) -> float:
    """Perplexity of a text, read in windows that know nothing of each other.

    Parameters
    ----------
    token_ids : the text; a last window of fewer than two tokens is left out.
    window : tokens of a window; its first token is given, not predicted.
    """
    cache = KVCache(decoder.config, num_blocks_for(window), decoder.cache_dtype, decoder.device)
    total, count = 0.0, 0
    for start in range(0, len(token_ids) - 1, window):
        part = torch.tensor(token_ids[start : start + window], device=decoder.device)
        if len(part) < 2:
            break
        logits_TV = window_logits(decoder, cache, part)
        total -= float(token_logprobs(logits_TV[:-1], part[1:]).double().sum())
        count += len(part) - 1
    return math.exp(total / count)


def window_logits(decoder: Decoder, cache: KVCache, token_T: torch.Tensor) -> torch.Tensor:
    """Next-token logits after every token of one text, (T, V); the cache must be all free."""
    T = len(token_T)
    assert cache.num_blocks * BLOCK_SIZE >= T
    at_T = torch.arange(T, device=token_T.device)
    plan = AttentionPlan(cached=(), fresh=(FreshPart(0, T),))
    return decoder(StepInput(token_T, at_T, at_T, plan, at_T), cache)
