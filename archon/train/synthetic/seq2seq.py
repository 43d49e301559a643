"""Sequence-to-sequence loss of an encoder–decoder: cross-entropy of targets, given sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

import torch
from torch import Tensor
from torch.nn import functional

from archon.engine.encoders.encoder_decoder import EncoderDecoder
from archon.train.packing import IGNORED

TokenPair = tuple[Sequence[int], Sequence[int]]
"""Source and target, neither with an end."""


@dataclass(frozen=True, slots=True)
class PairBatch:
    """B pairs, padded on the right."""

    source_BS: Tensor
    is_token_BS: Tensor
    read_BT: Tensor
    """What the decoder reads: the start, then the target."""
    wanted_BT: Tensor
    """What it should say after each: the target, then the end; ``IGNORED`` behind it."""


def make_pair_batch(pairs: Sequence[TokenPair], start_id: int, stop_id: int) -> PairBatch:
    """Pairs of token ids as tensors; the source ends with ``stop_id``, too."""
    sources = [[*source, stop_id] for source, _ in pairs]
    source_BS = _padded(sources, start_id)
    lengths_B = torch.tensor([len(source) for source in sources])
    return PairBatch(
        source_BS=source_BS,
        is_token_BS=torch.arange(source_BS.shape[1])[None, :] < lengths_B[:, None],
        read_BT=_padded([[start_id, *target] for _, target in pairs], start_id),
        wanted_BT=_padded([[*target, stop_id] for _, target in pairs], IGNORED),
    )


def pair_loss(model: EncoderDecoder, batch: PairBatch) -> Tensor:
    """Mean cross-entropy of the targets' tokens, each given those before it: a scalar, in nats."""
    logits_BTV = model(batch.source_BS, batch.is_token_BS, batch.read_BT)
    return functional.cross_entropy(
        logits_BTV.flatten(0, 1), batch.wanted_BT.flatten(), ignore_index=IGNORED
    )


def pair_losses(
    model: EncoderDecoder, pairs: Sequence[TokenPair], batch_size: int, seed: int
) -> Iterator[Callable[[], Tensor]]:
    """A batch drawn at random for each step, without end."""
    random, config = Random(seed), model.config
    while True:
        batch = make_pair_batch(
            random.choices(pairs, k=batch_size), config.start_id, config.stop_id
        )
        yield partial(pair_loss, model, batch)


def _padded(rows: Sequence[Sequence[int]], filling: int) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[filling] * (longest - len(row))] for row in rows])
