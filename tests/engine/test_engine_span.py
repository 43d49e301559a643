"""The logits of a text do not depend on its division into spans."""

from __future__ import annotations

import random
from array import array

import pytest
import torch
from engine_doubles import assert_close_logits, prompt_of, tiny_decoder

from archon.engine.model.decoder import Decoder
from archon.engine.perplexity import window_logits
from archon.engine.span import Span

SHARED_BLOCKS = 2
PROMPT = prompt_of(SHARED_BLOCKS * 16 + 5)


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return tiny_decoder()


def random_cuts(rng: random.Random, stop: int) -> list[int]:
    """Return increasing positions from 0 to ``stop``; most are adjacent, as in decoding."""
    inner = sorted({rng.randrange(1, stop) for _ in range(rng.randrange(6))})
    run = range(rng.randrange(stop), stop)
    return sorted({0, *inner, *run, stop})


@pytest.mark.parametrize("seed", range(12))
def test_logits_do_not_depend_on_the_spans(seed: int, decoder: Decoder) -> None:
    rng = random.Random(seed)
    texts = [PROMPT + prompt_of(rng.randint(1, 50), seed=s) for s in (1, 2, 3)]
    blocks = [(array("i", [7, 3, *range(10 + 10 * i, 20 + 10 * i)]),) for i in range(3)]
    cache = decoder.new_cache(64)
    decoder([Span(PROMPT[:32], 0, blocks[0], SHARED_BLOCKS, 0)], cache)
    pending = [[32, *(32 + at for at in random_cuts(rng, len(t) - 32)[1:])] for t in texts]
    rows: list[list[torch.Tensor]] = [[], [], []]
    while any(len(cuts) > 1 for cuts in pending):
        spans, owners = [], []
        for i, cuts in enumerate(pending):
            if len(cuts) > 1 and rng.random() < 0.7:
                tokens = texts[i][cuts[0] : cuts[1]]
                num_logits = rng.choice([len(tokens), 1, 0])
                spans.append(Span(tokens, cuts.pop(0), blocks[i], SHARED_BLOCKS, num_logits))
                owners.append((i, spans[-1].stop))
        if spans:
            logits = list(decoder(spans, cache))
            for (i, stop), span in zip(owners, spans, strict=True):
                found = [logits.pop(0) for _ in range(span.num_logits)]
                expected = window_logits(decoder, decoder.new_cache(64), texts[i][:stop])
                if found:
                    assert_close_logits(torch.stack(found), expected[-len(found) :])
                rows[i] += found
            assert not logits
    assert sum(len(found) for found in rows) > 0


@pytest.mark.parametrize("start", [1, 5, 16, 20, 31])
def test_a_span_may_start_anywhere_in_the_shared_blocks(start: int, decoder: Decoder) -> None:
    cache, blocks = decoder.new_cache(8), (array("i", [3, 1, 4]),)
    decoder([Span(PROMPT[:start], 0, blocks, SHARED_BLOCKS, 0)], cache)
    rest = Span(PROMPT[start:], start, blocks, SHARED_BLOCKS, len(PROMPT) - start)
    expected = window_logits(decoder, decoder.new_cache(8), PROMPT)[start:]
    assert_close_logits(decoder([rest], cache), expected)
