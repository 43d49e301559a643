"""Texts laid one behind the other in rows, so that no place of a batch is padding for long.

A token attends to its own text alone (``archon.train.decoder``): packing changes no gradient. What
all texts of a row begin with, a system message for instance, stands in it once, and all attend to
it, as draws of one prompt do in the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from archon.train.decoder import TrainableDecoder
from archon.train.splits import rounds

IGNORED = -100
"""Target of tokens after which nothing is learnt; cross-entropy leaves them out."""
_OPEN_ROWS = 16
"""Rows that still take texts while texts come in; more of them leave fewer gaps."""


class Packable(Protocol):
    """What lies in rows: token ids, of which the first so many are read and not learnt."""

    @property
    def token_ids(self) -> tuple[int, ...]: ...

    @property
    def num_given(self) -> int: ...


_T = TypeVar("_T", bound=Packable)


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """B rows of T tokens."""

    token_BT: Tensor
    position_BT: Tensor
    """Each token's place in its text."""
    text_BT: Tensor
    """Which of its row's texts it belongs to, from 1; 0 for what they begin with, −1 for none."""
    wanted_BT: Tensor
    """The token that should follow; ``IGNORED`` where that is given, or padding."""
    end_N2: Tensor
    """Row and place of the last token that is read of each text, row by row."""

    @property
    def num_wanted(self) -> int:
        return int((self.wanted_BT != IGNORED).sum())

    def to(self, device: torch.device) -> PackedBatch:
        return PackedBatch(
            self.token_BT.to(device),
            self.position_BT.to(device),
            self.text_BT.to(device),
            self.wanted_BT.to(device),
            self.end_N2.to(device),
        )


def fits(text: Packable, context: int) -> bool:
    """Whether a text goes into a row; nothing follows its last token, which is not read."""
    return len(text.token_ids) - 1 <= context


def shared_beginning(texts: Sequence[Packable]) -> int:
    """Tokens that all texts begin with, and none has to say; each is left one of its own."""
    if len(texts) < 2:
        return 0
    ids = [text.token_ids for text in texts]
    first, last = min(ids), max(ids)  # in the order of tuples no other two part sooner
    parting = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    own = min(min(len(text.token_ids) - 2, text.num_given - 1) for text in texts)
    return max(min(own, len(first) if parting is None else parting), 0)


def packed_rows(texts: Sequence[_T], context: int, seed: int) -> Iterator[list[_T]]:
    """Rows without end: each text once in every round, in an order of its own."""
    shared = shared_beginning(texts)
    for order in rounds(texts, f"packing/{seed}"):
        yield from pack(iter(order), context, shared)


def pack(texts: Iterator[_T], context: int, shared: int = 0) -> Iterator[list[_T]]:
    """Each text into the fullest open row that has room; the fullest goes when all are too full.

    Parameters
    ----------
    shared
        Tokens that all begin with (``shared_beginning``), which a row has once.
    """
    rows: list[tuple[int, list[_T]]] = []
    for text in texts:
        length = len(text.token_ids) - 1 - shared
        assert length + shared <= context
        room = [index for index, (used, _) in enumerate(rows) if used + length <= context]
        if room:
            index = max(room, key=lambda i: rows[i][0])
            rows[index] = (rows[index][0] + length, [*rows[index][1], text])
            continue
        if len(rows) == _OPEN_ROWS:
            yield rows.pop(max(range(len(rows)), key=lambda i: rows[i][0]))[1]
        rows.append((shared + length, [text]))
    yield from (row for _, row in rows)


def pack_once(texts: Sequence[_T], context: int) -> list[list[_T]]:
    """All texts in rows, each once; what all begin with stands in a row once."""
    return list(pack(iter(texts), context, shared_beginning(texts)))


def make_batch(rows: Sequence[Sequence[Packable]], context: int) -> PackedBatch:
    """Rows as tensors; what no text fills is a text of its own, from which nothing is learnt."""
    shared_B = list(map(shared_beginning, rows))
    lengths_B = [
        shared + sum(len(text.token_ids) - 1 - shared for text in row)
        for shared, row in zip(shared_B, rows, strict=True)
    ]
    assert max(lengths_B) <= context
    shape = (len(rows), max(lengths_B))
    token_BT, position_BT = (torch.zeros(shape, dtype=torch.int64) for _ in range(2))
    text_BT, wanted_BT = torch.full(shape, -1), torch.full(shape, IGNORED)
    ends: list[tuple[int, int]] = []
    for b, (shared, row) in enumerate(zip(shared_B, rows, strict=True)):
        token_BT[b, :shared] = torch.tensor(row[0].token_ids[:shared])
        position_BT[b, :shared] = torch.arange(shared)
        text_BT[b, :shared] = 0
        start = shared
        for number, text in enumerate(row, 1):
            ids = torch.tensor(text.token_ids[shared:])
            stop, first = start + len(ids) - 1, max(text.num_given - 1, 0) - shared
            token_BT[b, start:stop] = ids[:-1]
            position_BT[b, start:stop] = torch.arange(shared, shared + len(ids) - 1)
            text_BT[b, start:stop] = number
            wanted_BT[b, start + first : stop] = ids[1 + first :]
            ends.append((b, stop - 1))
            start = stop
    return PackedBatch(token_BT, position_BT, text_BT, wanted_BT, torch.tensor(ends))


def batch_loss(model: TrainableDecoder, batch: PackedBatch, num_wanted: int) -> Tensor:
    """A batch's share of the mean cross-entropy over ``num_wanted`` tokens: a scalar, in nats.

    Shares of one step add up to the mean over all of its tokens, however they lie in batches.
    """
    hidden_BTE = model(batch.token_BT, batch.position_BT, batch.text_BT)
    asked_BT = batch.wanted_BT != IGNORED
    logits_NV = model.logits(hidden_BTE[asked_BT])
    total = functional.cross_entropy(logits_NV.float(), batch.wanted_BT[asked_BT], reduction="sum")
    return total / num_wanted
