"""From a batch of sequences and chunks to the tensors that the decoder wants.

The tokens of a step are laid out as: the newest token of every running sequence, then the tokens
of every chunk.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain

import torch
from torch import Tensor

from archon.engine.attention import AttentionPlan, CachedPart, FreshPart
from archon.engine.decoder import StepInput
from archon.engine.kv_cache import BLOCK_SIZE, num_blocks_for
from archon.engine.scheduler import Batch, Chunk
from archon.engine.sequence import Prompt, Sequence

_Group = tuple[list[int], list[int], int]
"""Tokens of the step, the cache blocks that they attend to, and how many keys of those count."""


def build_step(batch: Batch, device: torch.device, cache_dtype: torch.dtype) -> StepInput:
    """Lay a batch out for the decoder. Logits are wanted after sequences and completed prompts."""
    sequences, chunks = batch.sequences, batch.chunks
    token_ids = [s.token_ids[-1] for s in sequences]
    positions = [s.position for s in sequences]
    slots = [s.slot for s in sequences]
    logit_rows = list(range(len(sequences)))
    fresh: list[FreshPart] = []
    for chunk in chunks:
        start = len(token_ids)
        token_ids += chunk.prompt.request.prompt_ids[chunk.start : chunk.stop]
        positions += range(chunk.start, chunk.stop)
        slots += _chunk_slots(chunk)
        fresh.append(FreshPart(start, len(token_ids)))
        if chunk.completes:
            logit_rows.append(len(token_ids) - 1)
    before = chain(_shared_groups(sequences), _chunk_groups(chunks, fresh))
    # A token stands at most once in a part, so what a sequence shares and what it owns stay apart.
    buckets = [*_buckets(before), *_buckets(_own_groups(sequences))]
    cached = tuple(_cached_part(bucket, device, cache_dtype) for bucket in buckets)

    def tensor(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=device)

    return StepInput(
        token_N=tensor(token_ids),
        position_N=tensor(positions),
        slot_N=tensor(slots),
        plan=AttentionPlan(cached, tuple(fresh)),
        logit_rows=tensor(logit_rows),
    )


def _chunk_slots(chunk: Chunk) -> list[int]:
    prompt = chunk.prompt
    assert prompt.tail_block is not None
    blocks = [*prompt.shared_blocks, prompt.tail_block]
    return [
        blocks[at // BLOCK_SIZE] * BLOCK_SIZE + at % BLOCK_SIZE
        for at in range(chunk.start, chunk.stop)
    ]


def _shared_groups(sequences: Iterable[Sequence]) -> Iterable[_Group]:
    """The sequences of one prompt attend to its shared blocks together."""
    rows_of: dict[Prompt, list[int]] = {}
    for row, sequence in enumerate(sequences):
        if sequence.prompt.path:
            rows_of.setdefault(sequence.prompt, []).append(row)
    for prompt, rows in rows_of.items():
        yield rows, prompt.shared_blocks, prompt.num_shared_tokens


def _own_groups(sequences: Iterable[Sequence]) -> Iterable[_Group]:
    for row, sequence in enumerate(sequences):
        num_keys = sequence.num_own_tokens
        yield [row], sequence.blocks[: num_blocks_for(num_keys)], num_keys


def _chunk_groups(chunks: Iterable[Chunk], fresh: Iterable[FreshPart]) -> Iterable[_Group]:
    """A chunk attends to what its prompt had in the cache before; to itself, it is fresh."""
    for chunk, part in zip(chunks, fresh, strict=True):
        if chunk.start:
            blocks = chunk.prompt.shared_blocks[: num_blocks_for(chunk.start)]
            yield list(range(part.start, part.stop)), blocks, chunk.start


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
