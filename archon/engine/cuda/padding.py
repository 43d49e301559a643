"""Pad decode steps to a few shapes, so that many steps can replay one recorded step.

Sizes are rounded up to powers of two. Rows of padding have token 0 at position 0, write their keys
to a scratch block that no sequence owns, and attend to no keys; their logits are not used. Every
part of the attention is extended to all rows, and the rows that do not attend to it are marked as
absent. So the shapes do not depend on which rows attend to a part. All layers have the same block
table, since models with sliding windows are not padded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from archon.engine.cache.kv_cache import BLOCK_SIZE
from archon.engine.model.attention import AttentionPlan, CachedPart
from archon.engine.model.step_input import GroupInput, StepInput
from archon.engine.span import Span

MAX_ROWS = 512
"""Maximum number of rows of a replayed step. With more rows, replaying saves too little time."""

Signature = tuple[int, ...]
"""Sizes of a padded step: its rows, then the groups, rows and blocks of each part of attention."""


def is_decode(spans: Sequence[Span]) -> bool:
    """Return True if a step has at most ``MAX_ROWS`` spans, each of one token that needs logits
    and no hidden state."""
    return 0 < len(spans) <= MAX_ROWS and all(
        len(span.token_ids) == span.num_logits == 1 and span.hidden_E is None for span in spans
    )


def padded_step(step: StepInput, scratch_block: int, mask_dtype: torch.dtype) -> StepInput:
    """Pad a decode step; the first rows of the result have the same logits as ``step``.

    Parameters
    ----------
    step
        A step whose tensors are on the CPU.
    scratch_block
        Block of the cache that no sequence owns.
    mask_dtype
        Number type of the cache.
    """
    [group] = step.groups
    assert not group.plan.fresh
    num_rows = _rounded_up(len(step.token_N))
    extra = torch.arange(num_rows - len(step.token_N))
    cached = (_padded_part(part, num_rows, scratch_block, mask_dtype) for part in group.plan.cached)
    scratch_slots = scratch_block * BLOCK_SIZE + extra % BLOCK_SIZE
    slot_SN = torch.cat([group.slot_SN, scratch_slots.unsqueeze(0)], dim=1)
    return StepInput(
        token_N=torch.cat([step.token_N, torch.zeros_like(extra)]),
        position_N=torch.cat([step.position_N, torch.zeros_like(extra)]),
        groups=(GroupInput(slot_SN, AttentionPlan(tuple(cached), ())),),
        logit_rows=torch.arange(num_rows),
    )


def _padded_part(
    part: CachedPart, num_rows: int, scratch_block: int, mask_dtype: torch.dtype
) -> CachedPart:
    (B, R), K = part.query_BR.shape, part.blocks_SBK.shape[2]
    rounded_B, rounded_R, rounded_K = map(_rounded_up, (B, R, K))
    query_BR = torch.zeros(rounded_B, rounded_R, dtype=torch.int64)
    query_BR[:B, :R] = part.query_BR
    blocks_SBK = torch.full((1, rounded_B, rounded_K), scratch_block)
    blocks_SBK[:, :B, :K] = part.blocks_SBK
    # Groups of padding attend to the scratch block, since a softmax over no keys is NaN.
    mask_B1L = torch.zeros(rounded_B, 1, rounded_K * BLOCK_SIZE, dtype=mask_dtype)
    mask_B1L[:B, :, K * BLOCK_SIZE :] = -math.inf
    if part.mask_BTL is not None:
        mask_B1L[:B, :, : K * BLOCK_SIZE] = part.mask_BTL
    row_M = torch.zeros(num_rows, dtype=torch.int64)
    row_M[part.token_M] = part.row_M // R * rounded_R + part.row_M % R
    absent_M = torch.ones(num_rows, dtype=torch.bool)
    absent_M[part.token_M] = False
    return CachedPart(torch.arange(num_rows), row_M, query_BR, blocks_SBK, mask_B1L, absent_M)


def signature(step: StepInput) -> Signature:
    """Return the sizes of a padded step; steps with equal signatures can replay the same graph."""
    sizes = [(*part.query_BR.shape, part.blocks_SBK.shape[2]) for part in _parts(step)]
    return (len(step.token_N), *(size for part in sizes for size in part))


def step_tensors(step: StepInput) -> list[Tensor]:
    """Return the tensors of a padded step, in a fixed order."""
    tensors = [step.token_N, step.position_N, step.groups[0].slot_SN, step.logit_rows]
    for part in _parts(step):
        assert part.mask_BTL is not None
        assert part.absent_M is not None
        tensors += [part.token_M, part.row_M, part.query_BR, part.blocks_SBK]
        tensors += [part.mask_BTL, part.absent_M]
    return tensors


def to_device(step: StepInput, device: torch.device) -> StepInput:
    """Copy a padded step to a device; the copy shares no tensors with it."""
    tensors = iter([tensor.to(device, copy=True) for tensor in step_tensors(step)])
    token_N, position_N, slot_SN, logit_rows = (next(tensors) for _ in range(4))
    parts = [CachedPart(*(next(tensors) for _ in range(6))) for _ in _parts(step)]
    group = GroupInput(slot_SN, AttentionPlan(tuple(parts), ()))
    return StepInput(token_N, position_N, (group,), logit_rows)


def _parts(step: StepInput) -> tuple[CachedPart, ...]:
    return step.groups[0].plan.cached


def _rounded_up(size: int) -> int:
    return 1 << (size - 1).bit_length()
