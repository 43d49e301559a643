"""From the spans of a step to the tensors that the torch decoder wants.

A span attends to what is in the cache in up to three parts: the shared blocks of its prompt,
together with every other span that shares them; what follows them, on its own; and itself, where
it is more than one token. One token alone is its own last key in the cache.
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
"""Tokens of the step, the cache blocks that they attend to, and how many keys of those count."""


@dataclass(frozen=True, slots=True)
class StepInput:
    """What the decoder computes in one step, all on the model's device."""

    token_N: Tensor
    position_N: Tensor
    slot_N: Tensor
    """Where in the cache each token's keys and values go."""
    plan: AttentionPlan
    logit_rows: Tensor
    """Tokens of the step whose next-token logits are wanted."""
    adapted: tuple[tuple[str, Tensor], ...] = ()
    """Adapters, and the tokens of the step that each of them changes."""


def build_step(spans: Sequence[Span], device: torch.device, cache_dtype: torch.dtype) -> StepInput:
    """Lay spans out one behind the other."""
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
    # A token stands at most once in a part, so what a span shares and what it owns stay apart.
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
    """Keys of the prompt's whole blocks that are in the cache before the step."""
    return min(span.num_shared_blocks, span.start // BLOCK_SIZE) * BLOCK_SIZE


def _shared_groups(spans: Sequence[Span], rows: Sequence[range]) -> Iterable[_Group]:
    """Spans that share all of their shared blocks attend to them together."""
    groups: dict[bytes, _Group] = {}
    for span, part in zip(spans, rows, strict=True):
        num_keys = _num_shared_keys(span)
        if num_keys:
            blocks = span.blocks[: num_keys // BLOCK_SIZE]
            group = groups.setdefault(blocks.tobytes(), ([], list(blocks), num_keys))
            group[0].extend(part)
    return groups.values()


def _own_groups(spans: Sequence[Span], rows: Sequence[range]) -> Iterable[_Group]:
    """What lies behind the shared blocks; for one token alone, up to itself."""
    for span, part in zip(spans, rows, strict=True):
        num_shared = _num_shared_keys(span)
        stop = span.start if len(part) > 1 else span.stop
        if stop > num_shared:
            blocks = span.blocks[num_shared // BLOCK_SIZE : num_blocks_for(stop)]
            yield list(part), list(blocks), stop - num_shared


def _buckets(groups: Iterable[_Group]) -> list[list[_Group]]:
    """Groups that are padded together: alike in rows and in keys, to within a factor of two."""
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
    places = [b * R + r for b, (rows, _, _) in enumerate(bucket) for r in range(len(rows))]
    return CachedPart(
        token_M=torch.tensor(tokens, device=device),
        row_M=torch.tensor(places, device=device),
        query_BR=_padded([rows for rows, _, _ in bucket], R).to(device),
        blocks_BK=_padded([blocks for _, blocks, _ in bucket], K).to(device),
        mask_BL=None if mask_BL is None else mask_BL.to(device),
    )


def _padded(rows: list[list[int]], width: int) -> Tensor:
    return torch.tensor([row + [0] * (width - len(row)) for row in rows], dtype=torch.int64)
