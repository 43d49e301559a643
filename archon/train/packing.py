"""Packing: concatenate texts in rows, so that batches need little padding.

A token attends only to its own text (``archon.train.decoder``), so packing does not change the
gradient. A prefix that all texts of a row share, such as a system message, is stored once per row,
and all texts attend to it, as the samples of one prompt do in the engine.

Shape suffixes: B rows, T tokens of a row, N texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from archon.train.decoder import TrainableDecoder
from archon.train.splits import rounds

IGNORED = -100
"""Target of tokens without a loss; PyTorch's cross-entropy ignores it."""
_MAX_OPEN_ROWS = 16
"""Maximum number of rows that are filled at the same time. More rows leave less space unused."""


class Packable(Protocol):
    """A text to pack. The first ``num_given`` of its token ids do not contribute to the loss."""

    @property
    def token_ids(self) -> tuple[int, ...]: ...

    @property
    def num_given(self) -> int: ...


_T = TypeVar("_T", bound=Packable)


class PackedBatch(NamedTuple):
    """Tensors of B packed rows of T tokens each."""

    token_BT: Tensor
    position_BT: Tensor
    """Position of each token in its text."""
    text_BT: Tensor
    """Index of each token's text in its row, from 1; 0 for the shared prefix, −1 for padding."""
    target_BT: Tensor
    """The next token if it contributes to the loss, else ``IGNORED``; ``IGNORED`` for padding."""
    end_N2: Tensor
    """Row and column of the last token that is read of each text, in row order."""

    @property
    def num_targets(self) -> int:
        """Number of tokens to learn."""
        return int((self.target_BT != IGNORED).sum())

    def to(self, device: torch.device) -> PackedBatch:
        """Return the batch with its tensors on ``device``."""
        return PackedBatch(*(tensor.to(device) for tensor in self))


def fits(text: Packable, context: int) -> bool:
    """Return whether a text fits in a row of ``context`` tokens.

    The last token is only a target, so it occupies no space in the row.
    """
    return len(text.token_ids) - 1 <= context


def shared_prefix(texts: Sequence[Packable]) -> int:
    """Return the length of the texts' common prefix that a row can store once.

    The prefix contains no targets, and each text has at least one given token after it.
    """
    if len(texts) < 2:
        return 0
    ids = [text.token_ids for text in texts]
    # In lexicographic order, no two texts differ earlier than the first and the last one.
    first, last = min(ids), max(ids)
    pairs = enumerate(zip(first, last, strict=False))
    common = next((i for i, (a, b) in pairs if a != b), len(first))
    most = min(min(len(text.token_ids) - 2, text.num_given - 1) for text in texts)
    return max(min(most, common), 0)


def packed_rows(texts: Sequence[_T], context: int, seed: int) -> Iterator[list[_T]]:
    """Yield packed rows endlessly; each round contains every text once, in a new random order."""
    num_shared = shared_prefix(texts)
    for order in rounds(texts, f"packing/{seed}"):
        yield from pack(iter(order), context, num_shared)


def pack(texts: Iterator[_T], context: int, num_shared: int = 0) -> Iterator[list[_T]]:
    """Yield rows of at most ``context`` tokens that together contain each text once.

    A text is added to the fullest open row that has enough space. If there is none, a new row is
    opened; if too many rows are open, the fullest one is yielded first.

    Parameters
    ----------
    num_shared
        Length of the prefix that a row stores once (``shared_prefix``).
    """
    rows: list[tuple[int, list[_T]]] = []
    for text in texts:
        length = len(text.token_ids) - 1 - num_shared
        assert num_shared + length <= context
        with_space = [i for i, (used, _) in enumerate(rows) if used + length <= context]
        if with_space:
            index = max(with_space, key=lambda i: rows[i][0])
            rows[index] = (rows[index][0] + length, [*rows[index][1], text])
            continue
        if len(rows) == _MAX_OPEN_ROWS:
            yield rows.pop(max(range(len(rows)), key=lambda i: rows[i][0]))[1]
        rows.append((num_shared + length, [text]))
    yield from (row for _, row in rows)


def pack_once(texts: Sequence[_T], context: int) -> list[list[_T]]:
    """Pack each text once; return the rows, each of which stores the shared prefix once."""
    return list(pack(iter(texts), context, shared_prefix(texts)))


def make_batch(rows: Sequence[Sequence[Packable]], context: int) -> PackedBatch:
    """Convert rows to tensors, padded to the longest row."""
    num_shared_B = list(map(shared_prefix, rows))
    lengths_B = [
        num_shared + sum(len(text.token_ids) - 1 - num_shared for text in row)
        for num_shared, row in zip(num_shared_B, rows, strict=True)
    ]
    assert max(lengths_B) <= context
    shape = (len(rows), max(lengths_B))
    token_BT, position_BT = (torch.zeros(shape, dtype=torch.int64) for _ in range(2))
    text_BT, target_BT = torch.full(shape, -1), torch.full(shape, IGNORED)
    ends: list[tuple[int, int]] = []
    for b, (num_shared, row) in enumerate(zip(num_shared_B, rows, strict=True)):
        token_BT[b, :num_shared] = torch.tensor(row[0].token_ids[:num_shared])
        position_BT[b, :num_shared] = torch.arange(num_shared)
        text_BT[b, :num_shared] = 0
        start = num_shared
        for number, text in enumerate(row, 1):
            ids = torch.tensor(text.token_ids[num_shared:])
            stop, first = start + len(ids) - 1, max(text.num_given - 1, 0) - num_shared
            token_BT[b, start:stop] = ids[:-1]
            position_BT[b, start:stop] = torch.arange(num_shared, num_shared + len(ids) - 1)
            text_BT[b, start:stop] = number
            target_BT[b, start + first : stop] = ids[1 + first :]
            ends.append((b, stop - 1))
            start = stop
    return PackedBatch(token_BT, position_BT, text_BT, target_BT, torch.tensor(ends))


def batch_loss(model: TrainableDecoder, batch: PackedBatch, num_targets: int) -> Tensor:
    """Return the sum of the batch's cross-entropies divided by ``num_targets``, a scalar in nats.

    If ``num_targets`` is the number of targets in all batches of a step, the sum of their losses is
    the mean over all targets of the step, regardless of how the texts are packed.
    """
    hidden_BTE = model(batch.token_BT, batch.position_BT, batch.text_BT)
    has_target_BT = batch.target_BT != IGNORED
    logits_KV = model.logits(hidden_BTE[has_target_BT])
    targets_K = batch.target_BT[has_target_BT]
    return functional.cross_entropy(logits_KV.float(), targets_K, reduction="sum") / num_targets
