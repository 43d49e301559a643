"""Convert a step's spans to the tensors that the torch decoder reads.

A span attends to up to three parts (``archon.engine.model.attention``): the shared blocks of its
prompt, in one group with all other spans that share them; the cached keys after these blocks, in a
separate group; and, if it has several tokens, to itself. A span of one token finds its own key in
the cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from archon.engine.cache.kv_cache import BLOCK_SIZE, num_blocks_for
from archon.engine.model.attention import AttentionPlan, CachedPart, FreshPart
from archon.engine.span import Span

_Group = tuple[list[int], list[int], int]
"""Indices of tokens in the step, the cache blocks that they attend to, and the number of keys in
these blocks."""


@dataclass(frozen=True, slots=True)
class StepInput:
    """Tensors of one step, all on the model's device."""

    token_N: Tensor
    position_N: Tensor
    slot_N: Tensor
    """Slot of the cache for each token's keys and values: block · BLOCK_SIZE + offset."""
    plan: AttentionPlan
    logit_rows: Tensor
    """Indices of the tokens that need logits."""
    adapted: tuple[tuple[str, Tensor], ...] = ()
    """Digest of each adapter that the step uses, and the indices of its tokens."""


def build_step(spans: Sequence[Span], device: torch.device, cache_dtype: torch.dtype) -> StepInput:
    """Concatenate spans and group them for attention."""
    token_ids: list[int] = []
    positions: list[int] = []
    slots: list[int] = []
    logit_rows: list[int] = []
    rows: list[range] = []
    adapted: dict[str, list[int]] = {}
    for span in spans:
        rows.append(range(len(token_ids), len(token_ids) + len(span.token_ids)))
        if span.adapter:
            adapted.setdefault(span.adapter, []).extend(rows[-1])
        token_ids += span.token_ids
        positions += range(span.start, span.stop)
        slots += _slots(span)
        logit_rows += rows[-1][len(span.token_ids) - span.num_logits :]
    # A token occurs at most once in a part, so a bucket never has both kinds of groups.
    buckets = [*_buckets(_shared_groups(spans, rows)), *_buckets(_own_groups(spans, rows))]
    cached = tuple(_cached_part(bucket, device, cache_dtype) for bucket in buckets)
    fresh = tuple(FreshPart(part.start, part.stop) for part in rows if len(part) > 1)

    def tensor(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=device)

    return StepInput(
        token_N=tensor(token_ids),
        position_N=tensor(positions),
        slot_N=tensor(slots),
        plan=AttentionPlan(cached, fresh),
        logit_rows=tensor(logit_rows),
        adapted=tuple((adapter, tensor(part)) for adapter, part in sorted(adapted.items())),
    )


def _slots(span: Span) -> list[int]:
    return [
        span.blocks[at // BLOCK_SIZE] * BLOCK_SIZE + at % BLOCK_SIZE
        for at in range(span.start, span.stop)
    ]


def _num_shared_keys(span: Span) -> int:
    """Return the number of keys in shared blocks that are cached before the step."""
    return min(span.num_shared_blocks, span.start // BLOCK_SIZE) * BLOCK_SIZE


def _shared_groups(spans: Sequence[Span], rows: Sequence[range]) -> Iterable[_Group]:
    """Return a group for each distinct list of shared blocks, with the tokens of all its spans."""
    groups: dict[bytes, _Group] = {}
    for span, part in zip(spans, rows, strict=True):
        num_keys = _num_shared_keys(span)
        if num_keys:
            blocks = span.blocks[: num_keys // BLOCK_SIZE]
            group = groups.setdefault(blocks.tobytes(), ([], list(blocks), num_keys))
            group[0].extend(part)
    return groups.values()


def _own_groups(spans: Sequence[Span], rows: Sequence[range]) -> Iterable[_Group]:
    """Yield a group for each span's keys after the shared blocks.

    The keys end before the span. If the span is one token, they include its key.
    """
    for span, part in zip(spans, rows, strict=True):
        num_shared = _num_shared_keys(span)
        stop = span.start if len(part) > 1 else span.stop
        if stop > num_shared:
            blocks = span.blocks[num_shared // BLOCK_SIZE : num_blocks_for(stop)]
            yield list(part), list(blocks), stop - num_shared


def _buckets(groups: Iterable[_Group]) -> list[list[_Group]]:
    """Return lists of groups to pad together, whose sizes differ by less than a factor of 2."""
    buckets: dict[tuple[int, int], list[_Group]] = {}
    for group in groups:
        rows, blocks, _ = group
        size = (len(rows).bit_length() if len(rows) > 1 else 0, len(blocks).bit_length())
        buckets.setdefault(size, []).append(group)
    return list(buckets.values())


def _cached_part(bucket: list[_Group], device: torch.device, dtype: torch.dtype) -> CachedPart:
    R = max(len(rows) for rows, _, _ in bucket)
    K = max(len(blocks) for _, blocks, _ in bucket)
    num_keys = torch.tensor([keys for _, _, keys in bucket])
    mask_BL = None
    if any(keys != K * BLOCK_SIZE for _, _, keys in bucket):
        padding_BL = torch.arange(K * BLOCK_SIZE) >= num_keys.unsqueeze(1)
        mask_BL = torch.zeros(padding_BL.shape, dtype=dtype).masked_fill_(padding_BL, -math.inf)
    tokens = [row for rows, _, _ in bucket for row in rows]
    padded_rows = [b * R + r for b, (rows, _, _) in enumerate(bucket) for r in range(len(rows))]
    return CachedPart(
        token_M=torch.tensor(tokens, device=device),
        row_M=torch.tensor(padded_rows, device=device),
        query_BR=_padded([rows for rows, _, _ in bucket], R).to(device),
        blocks_BK=_padded([blocks for _, blocks, _ in bucket], K).to(device),
        mask_BL=None if mask_BL is None else mask_BL.to(device),
    )


def _padded(rows: list[list[int]], width: int) -> Tensor:
    return torch.tensor([row + [0] * (width - len(row)) for row in rows], dtype=torch.int64)
