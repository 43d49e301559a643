"""Convert a step's spans to the tensors that the torch decoder reads.

A span attends to up to three parts (``archon.engine.model.attention``): the shared blocks of its
prompt, in one group with all other spans that share them; the cached keys after these blocks, in a
separate group; and, if it has several tokens, to itself. A span of one token finds its own key in
the cache. Each layer group has its own slots and plan (``archon.engine.cache.layout``). In a group
with a sliding window, entries that all windows have passed are left out, and a mask hides the other
keys outside of a window.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from archon.engine.cache.kv_cache import BLOCK_SIZE, num_blocks_for
from archon.engine.cache.layout import PLAIN, CacheLayout, LayerGroup
from archon.engine.model.attention import AttentionPlan, CachedPart, FreshPart
from archon.engine.span import Span


class _Group(NamedTuple):
    """Tokens of a step that attend to the same cache blocks."""

    rows: list[int]
    """Indices of the tokens in the step."""
    blocks: list[int]
    """Entries of a block table, each of ``size`` blocks."""
    size: int
    start: int
    """Position of the first key."""
    num_keys: int
    is_shared: bool
    hidden: tuple[int, ...] = ()
    """Number of leading keys that each token does not attend to; empty if there are none."""

    @property
    def num_entries(self) -> int:
        return len(self.blocks) // self.size


@dataclass(frozen=True, slots=True)
class GroupInput:
    """Tensors for the layers of one group."""

    slot_SN: Tensor
    """Slot of the cache for each token's keys and values, block · BLOCK_SIZE + offset, in each of
    the S blocks of an entry."""
    plan: AttentionPlan


@dataclass(frozen=True, slots=True)
class StepInput:
    """Tensors of one step, all on the model's device."""

    token_N: Tensor
    position_N: Tensor
    groups: tuple[GroupInput, ...]
    logit_rows: Tensor
    """Indices of the tokens that need logits."""
    adapted: tuple[tuple[str, Tensor], ...] = ()
    """Digest of each adapter that the step uses, and the indices of its tokens."""
    is_long_N: Tensor | None = None
    """True for tokens of long texts (``Rope.long_after``); None if there are none."""


def build_step(
    spans: Sequence[Span],
    device: torch.device,
    cache_dtype: torch.dtype,
    layout: CacheLayout = PLAIN,
) -> StepInput:
    """Concatenate spans and group them for attention.

    Parameters
    ----------
    layout
        Layout of the decoder's cache.
    """
    token_ids: list[int] = []
    positions: list[int] = []
    logit_rows: list[int] = []
    rows: list[range] = []
    adapted: dict[str, list[int]] = {}
    for span in spans:
        rows.append(range(len(token_ids), len(token_ids) + len(span.token_ids)))
        if span.adapter:
            adapted.setdefault(span.adapter, []).extend(rows[-1])
        token_ids += span.token_ids
        positions += range(span.start, span.stop)
        logit_rows += rows[-1][len(span.token_ids) - span.num_logits :]

    def tensor(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=device)

    is_long = [span.is_long for span in spans for _ in span.token_ids]
    return StepInput(
        token_N=tensor(token_ids),
        position_N=tensor(positions),
        groups=tuple(
            GroupInput(
                tensor(_slots(spans, number, group.size)).view(-1, group.size).t(),
                _plan(spans, rows, positions, number, group, device, cache_dtype),
            )
            for number, group in enumerate(layout.groups)
        ),
        logit_rows=tensor(logit_rows),
        adapted=tuple((adapter, tensor(part)) for adapter, part in sorted(adapted.items())),
        is_long_N=torch.tensor(is_long, device=device) if any(is_long) else None,
    )


def _plan(
    spans: Sequence[Span],
    rows: Sequence[range],
    positions: Sequence[int],
    number: int,
    layers: LayerGroup,
    device: torch.device,
    dtype: torch.dtype,
) -> AttentionPlan:
    """Return the plan of layer group ``number``."""
    window, size = layers.window, layers.size
    groups = [*_shared_groups(spans, rows, number, size), *_own_groups(spans, rows, number, size)]
    if window is not None and all(span.stop <= window for span in spans):
        window = None
    if window is not None:
        inside = (_within(group, window, positions) for group in groups)
        groups = [group for group in inside if group]
    # A token occurs at most once in a part, so a bucket never has both kinds of groups.
    shared, own = ([g for g in groups if g.is_shared is kind] for kind in (True, False))
    cached = (_cached_part(b, device, dtype) for b in [*_buckets(shared), *_buckets(own)])
    fresh = (FreshPart(part.start, part.stop, window) for part in rows if len(part) > 1)
    return AttentionPlan(tuple(cached), tuple(fresh))


def _within(group: _Group, window: int, positions: Sequence[int]) -> _Group | None:
    """Return the part of a group inside the windows of its tokens; None if there is none."""
    first = {row: max(0, positions[row] - window + 1) for row in group.rows}
    rows = [row for row in group.rows if first[row] < group.start + group.num_keys]
    if not rows:
        return None
    num_skipped = max(0, min(first[row] for row in rows) - group.start) // BLOCK_SIZE
    start = group.start + num_skipped * BLOCK_SIZE
    hidden = tuple(max(0, first[row] - start) for row in rows)
    return group._replace(
        rows=rows,
        blocks=group.blocks[num_skipped * group.size :],
        start=start,
        num_keys=group.num_keys - num_skipped * BLOCK_SIZE,
        hidden=hidden if any(hidden) else (),
    )


def _slots(spans: Sequence[Span], number: int, size: int) -> list[int]:
    """Return the slots of all tokens in layer group ``number``, ``size`` for each."""
    return [
        span.tables[number][at // BLOCK_SIZE * size + member] * BLOCK_SIZE + at % BLOCK_SIZE
        for span in spans
        for at in range(span.start, span.stop)
        for member in range(size)
    ]


def _num_shared_keys(span: Span) -> int:
    """Return the number of keys in shared entries that are cached before the step."""
    return min(span.num_shared_entries, span.start // BLOCK_SIZE) * BLOCK_SIZE


def _shared_groups(
    spans: Sequence[Span], rows: Sequence[range], number: int, size: int
) -> Iterable[_Group]:
    """Return a group for each distinct list of shared blocks, with the tokens of all its spans."""
    groups: dict[bytes, _Group] = {}
    for span, part in zip(spans, rows, strict=True):
        num_keys = _num_shared_keys(span)
        if num_keys:
            blocks = span.tables[number][: num_keys // BLOCK_SIZE * size]
            group = groups.setdefault(
                blocks.tobytes(), _Group([], list(blocks), size, 0, num_keys, is_shared=True)
            )
            group.rows.extend(part)
    return groups.values()


def _own_groups(
    spans: Sequence[Span], rows: Sequence[range], number: int, size: int
) -> Iterable[_Group]:
    """Yield a group for each span's keys after the shared blocks.

    The keys end before the span. If the span is one token, they include its key.
    """
    for span, part in zip(spans, rows, strict=True):
        num_shared = _num_shared_keys(span)
        stop = span.start if len(part) > 1 else span.stop
        if stop > num_shared:
            first, last = num_shared // BLOCK_SIZE * size, num_blocks_for(stop) * size
            blocks, num_keys = list(span.tables[number][first:last]), stop - num_shared
            yield _Group(list(part), blocks, size, num_shared, num_keys, is_shared=False)


def _buckets(groups: Iterable[_Group]) -> list[list[_Group]]:
    """Return lists of groups to pad together, whose sizes differ by less than a factor of 2."""
    buckets: dict[tuple[int, int], list[_Group]] = {}
    for group in groups:
        num_rows = len(group.rows)
        size = (num_rows.bit_length() if num_rows > 1 else 0, group.num_entries.bit_length())
        buckets.setdefault(size, []).append(group)
    return list(buckets.values())


def _cached_part(bucket: list[_Group], device: torch.device, dtype: torch.dtype) -> CachedPart:
    R = max(len(group.rows) for group in bucket)
    K = max(group.num_entries for group in bucket)
    size = bucket[0].size
    mask_BTL = _mask(bucket, R, K * BLOCK_SIZE, dtype)
    tokens = [row for group in bucket for row in group.rows]
    padded_rows = [b * R + r for b, group in enumerate(bucket) for r in range(len(group.rows))]
    return CachedPart(
        token_M=torch.tensor(tokens, device=device),
        row_M=torch.tensor(padded_rows, device=device),
        query_BR=_padded([group.rows for group in bucket], R).to(device),
        blocks_SBK=_padded([group.blocks for group in bucket], K * size)
        .view(-1, K, size)
        .permute(2, 0, 1)
        .to(device),
        mask_BTL=None if mask_BTL is None else mask_BTL.to(device),
    )


def _mask(bucket: list[_Group], R: int, L: int, dtype: torch.dtype) -> Tensor | None:
    """Return −inf for padding and hidden keys, (B, 1, L) or (B, R, L); None if there are none."""
    key_L = torch.arange(L)
    num_keys_B = torch.tensor([group.num_keys for group in bucket])
    masked_BTL = (key_L >= num_keys_B.unsqueeze(1)).unsqueeze(1)
    if any(group.hidden for group in bucket):
        hidden_BR = _padded([list(group.hidden) for group in bucket], R)
        masked_BTL = masked_BTL | (key_L < hidden_BR.unsqueeze(2))
    if not masked_BTL.any():
        return None
    return torch.zeros(masked_BTL.shape, dtype=dtype).masked_fill_(masked_BTL, -math.inf)


def _padded(rows: list[list[int]], width: int) -> Tensor:
    return torch.tensor([row + [0] * (width - len(row)) for row in rows], dtype=torch.int64)
