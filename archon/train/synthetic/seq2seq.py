"""The loss of an encoder–decoder: the cross-entropy of targets, given sources.

Shape suffixes: B pairs, S tokens of a source, T tokens of a target, V vocabulary.
"""

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
"""Token ids of a source and a target, both without an end token."""


@dataclass(frozen=True, slots=True)
class PairBatch:
    """Tensors of B pairs of source and target, padded on the right."""

    source_BS: Tensor
    is_token_BS: Tensor
    read_BT: Tensor
    """Input of the decoder: the start token, then the target."""
    target_BT: Tensor
    """Token to predict at each position: the target, then the end token, then ``IGNORED``."""


def make_pair_batch(pairs: Sequence[TokenPair], start_id: int, stop_id: int) -> PairBatch:
    """Convert pairs of token ids to tensors; ``stop_id`` is appended to sources and targets."""
    sources = [[*source, stop_id] for source, _ in pairs]
    source_BS = _padded(sources, start_id)
    lengths_B = torch.tensor([len(source) for source in sources])
    return PairBatch(
        source_BS=source_BS,
        is_token_BS=torch.arange(source_BS.shape[1])[None, :] < lengths_B[:, None],
        read_BT=_padded([[start_id, *target] for _, target in pairs], start_id),
        target_BT=_padded([[*target, stop_id] for _, target in pairs], IGNORED),
    )


def pair_loss(model: EncoderDecoder, batch: PairBatch) -> Tensor:
    """Return the mean cross-entropy of the target tokens, a scalar in nats."""
    logits_BTV = model(batch.source_BS, batch.is_token_BS, batch.read_BT)
    return functional.cross_entropy(
        logits_BTV.flatten(0, 1), batch.target_BT.flatten(), ignore_index=IGNORED
    )


def pair_losses(
    model: EncoderDecoder, pairs: Sequence[TokenPair], batch_size: int, seed: int
) -> Iterator[Callable[[], Tensor]]:
    """Yield endlessly, for each step, a function that computes the loss of a random batch."""
    random, config = Random(seed), model.config
    while True:
        batch = make_pair_batch(
            random.choices(pairs, k=batch_size), config.start_id, config.stop_id
        )
        yield partial(pair_loss, model, batch)


def _padded(rows: Sequence[Sequence[int]], padding: int) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[padding] * (longest - len(row))] for row in rows])
