"""What every storage of keys and values promises: a copied block is as good as the original."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import pytest
import torch
from decoder_doubles import CASES, DecoderCase
from engine_doubles import prompt_of
from torch import Tensor

from archon.engine.cache.kv_cache import BlockStorage
from archon.engine.decoder_protocol import SpanDecoder
from archon.engine.span import Span

NUM_BLOCKS = 6
PROMPT = prompt_of(21)


@pytest.fixture(scope="module", params=[c for c in CASES if c.family == "qwen2"], ids=str)
def decoder(request: pytest.FixtureRequest) -> SpanDecoder:
    case: DecoderCase = request.param
    return case.load()


@pytest.fixture
def storage(decoder: SpanDecoder) -> BlockStorage:
    return decoder.new_cache(NUM_BLOCKS)


def compute(
    decoder: SpanDecoder,
    storage: BlockStorage,
    tokens: Sequence[int],
    start: int,
    blocks: Sequence[int],
) -> Tensor:
    """Write the keys and values of tokens; returns the logits after the last of them."""
    return decoder([Span(tokens, start, (array("i", blocks),), 0, 1)], storage)[0].clone()


class TestBlockStorage:
    def test_it_has_as_many_blocks_as_were_asked_for(self, storage: BlockStorage) -> None:
        assert storage.num_blocks == NUM_BLOCKS

    def test_any_blocks_serve_in_any_order(
        self, decoder: SpanDecoder, storage: BlockStorage
    ) -> None:
        found = []
        for blocks in ([0, 1], [NUM_BLOCKS - 1, 2], [4, 3]):
            compute(decoder, storage, PROMPT[:-1], 0, blocks)
            found.append(compute(decoder, storage, PROMPT[-1:], 20, blocks))
        assert all(torch.equal(logits, found[0]) for logits in found)

    def test_a_copied_block_is_read_as_the_original(
        self, decoder: SpanDecoder, storage: BlockStorage
    ) -> None:
        compute(decoder, storage, PROMPT[:-1], 0, [0, 1])
        storage.copy_blocks(1, [3, 5])
        found = [compute(decoder, storage, PROMPT[-1:], 20, [0, last]) for last in (1, 3, 5)]
        assert all(torch.equal(logits, found[0]) for logits in found)

    def test_what_is_written_to_a_copy_stays_in_it(
        self, decoder: SpanDecoder, storage: BlockStorage
    ) -> None:
        compute(decoder, storage, PROMPT[:-1], 0, [0, 1])
        compute(decoder, storage, PROMPT[-1:], 20, [0, 1])
        expected = compute(decoder, storage, [7], 21, [0, 1])
        storage.copy_blocks(1, [3])
        compute(decoder, storage, [9, 8], 20, [0, 3])
        assert torch.equal(compute(decoder, storage, [7], 21, [0, 1]), expected)

    def test_copying_leaves_all_other_blocks_alone(
        self, decoder: SpanDecoder, storage: BlockStorage
    ) -> None:
        other = prompt_of(40, seed=1)
        compute(decoder, storage, other[:-1], 0, [2, 3, 4])
        expected = compute(decoder, storage, other[-1:], 39, [2, 3, 4])
        compute(decoder, storage, PROMPT, 0, [0, 1])
        storage.copy_blocks(1, [5])
        assert torch.equal(compute(decoder, storage, other[-1:], 39, [2, 3, 4]), expected)
