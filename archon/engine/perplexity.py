"""Perplexity of a text: a measure of how well a model predicts it.

Perplexity is exp(−mean log p(token | tokens before it)). It is 1 for a perfect prediction and V for
a uniform one. Comparing it between precisions shows how much quality a lower precision costs.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from itertools import islice

import torch
from torch import Tensor

from archon.engine.cache.kv_cache import BlockStorage, num_blocks_for
from archon.engine.decoder_protocol import SpanDecoder
from archon.engine.sampling.sampler import token_logprobs
from archon.engine.span import Span


def perplexity(decoder: SpanDecoder, token_ids: Sequence[int], window: int = 512) -> float:
    """Return the perplexity of a text, which is split into independent windows.

    Parameters
    ----------
    token_ids
        The text. If its last window has fewer than two tokens, the window is ignored.
    window
        Number of tokens per window. The first token of each window is not predicted.
    """
    cache = decoder.new_cache(num_blocks_for(window) * decoder.config.cache_layout.entry_size)
    total, count = 0.0, 0
    for start in range(0, len(token_ids) - 1, window):
        part = token_ids[start : start + window]
        if len(part) < 2:
            break
        logits_TV = window_logits(decoder, cache, part)
        next_T = torch.tensor(part[1:], device=logits_TV.device)
        total -= float(token_logprobs(logits_TV[:-1], next_T).double().sum())
        count += len(part) - 1
    return math.exp(total / count)


def window_logits(decoder: SpanDecoder, cache: BlockStorage, token_ids: Sequence[int]) -> Tensor:
    """Return the next-token logits after every token of one text, (T, V); overwrite the cache."""
    num_entries, free = num_blocks_for(len(token_ids)), iter(range(cache.num_blocks))
    tables = tuple(
        array("i", islice(free, num_entries * group.size)) for group in cache.layout.groups
    )
    assert len(tables[-1]) == num_entries * cache.layout.groups[-1].size
    long_after = decoder.config.long_after
    is_long = long_after is not None and len(token_ids) > long_after
    return decoder([Span(token_ids, 0, tables, 0, len(token_ids), is_long=is_long)], cache)
