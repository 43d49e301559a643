"""Decode steps over a cache of random keys and values, for the tests of padding and CUDA graphs."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable

import torch

from archon.engine.cache.kv_cache import BLOCK_SIZE, KVCache, num_blocks_for
from archon.engine.cuda.graphs import GraphedDecoder
from archon.engine.model.decoder import Decoder
from archon.engine.span import Span

NUM_BLOCKS = 128
Text = tuple[int, int]
"""Number of a sequence's prompt, and its tokens after the shared blocks."""
STEPS: dict[str, list[Text]] = {
    "one row": [(0, 5)],
    "one prompt": [(2, 1), (2, 16), (2, 17)],
    "two prompts of three": [(2, 3), (2, 9), (2, 1), (4, 5), (4, 2), (4, 7)],
    "a full bucket": [(1, 3), (1, 40), (2, 3), (2, 30)],
    "prompts of all lengths": [(0, 3), (1, 9), (1, 20), (2, 70), (2, 1), (2, 2), (3, 1), (0, 90)],
    "nothing shared": [(0, i) for i in range(1, 20, 3)],
}
SHARED_BLOCKS = {0: [], 1: [0], 2: [1, 2, 3], 3: [4, 5, 6, 7, 8], 4: [9, 10]}


def spans_of(texts: Iterable[Text], seed: int = 0) -> list[Span]:
    rng = random.Random(seed)
    free = iter(rng.sample(range(16, NUM_BLOCKS), NUM_BLOCKS - 16))
    spans = []
    for prompt, num_own in texts:
        shared = SHARED_BLOCKS[prompt]
        own = [next(free) for _ in range(num_blocks_for(num_own))]
        start = len(shared) * BLOCK_SIZE + num_own - 1
        table = array("i", shared + own)
        spans.append(Span([rng.randrange(304)], start, (table,), len(shared), 1))
    return spans


def random_cache(decoder: Decoder) -> KVCache:
    cache = GraphedDecoder(decoder).new_cache(NUM_BLOCKS)
    generator = torch.Generator().manual_seed(0)
    for storage in (cache.k, cache.v):
        storage.copy_(torch.randn(storage.shape, generator=generator))
    return cache
