"""Padding a decode step to one of few shapes, so that a recorded step can be replayed for it.

Sizes are rounded up to powers of two. Rows that are padding hold token 0 at position 0, write their
keys to a scratch block that no sequence owns, and attend to nothing; nobody reads their logits.
Every part of the attention is made to concern every row, and the rows that it did not concern
before are marked absent, so that the same operations serve whoever is in the part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from archon.engine.cache.kv_cache import BLOCK_SIZE
from archon.engine.model.attention import AttentionPlan, CachedPart
from archon.engine.model.step_input import StepInput
from archon.engine.span import Span

MAX_ROWS = 512
"""Steps of more rows gain too little by being replayed."""

Signature = tuple[int, ...]
"""Rows of a step; then groups, rows and blocks of each part of its attention."""


def is_decode(spans: Sequence[Span]) -> bool:
    """Whether a step is one token of each of a few texts, each with its logits."""
    few = 0 < len(spans) <= MAX_ROWS
    return few and all(
        len(span.token_ids) == span.num_logits == 1 and span.hidden_E is None for span in spans
    )


def padded_step(step: StepInput, scratch_block: int, mask_dtype: torch.dtype) -> StepInput:
    """A decode step of rounded sizes that computes the same in its first rows.

    Parameters
    ----------
    step
        On the CPU.
    scratch_block
        A block of the cache that no sequence owns.
    mask_dtype
        The cache's.
    """
    assert not step.plan.fresh
    num_rows = _rounded_up(len(step.token_N))
    extra = torch.arange(num_rows - len(step.token_N))
    cached = (_padded_part(part, num_rows, scratch_block, mask_dtype) for part in step.plan.cached)
    return StepInput(
        token_N=torch.cat([step.token_N, torch.zeros_like(extra)]),
        position_N=torch.cat([step.position_N, torch.zeros_like(extra)]),
        slot_N=torch.cat([step.slot_N, scratch_block * BLOCK_SIZE + extra % BLOCK_SIZE]),
        plan=AttentionPlan(tuple(cached), ()),
        logit_rows=torch.arange(num_rows),
    )


def _padded_part(
    part: CachedPart, num_rows: int, scratch_block: int, mask_dtype: torch.dtype
) -> CachedPart:
    (B, R), K = part.query_BR.shape, part.blocks_BK.shape[1]
    rounded_B, rounded_R, rounded_K = map(_rounded_up, (B, R, K))
    query_BR = torch.zeros(rounded_B, rounded_R, dtype=torch.int64)
    query_BR[:B, :R] = part.query_BR
    blocks_BK = torch.full((rounded_B, rounded_K), scratch_block)
    blocks_BK[:B, :K] = part.blocks_BK
    # Groups that are padding attend to the scratch block; a softmax over no keys is no number.
    mask_BL = torch.zeros(rounded_B, rounded_K * BLOCK_SIZE, dtype=mask_dtype)
    mask_BL[:B, K * BLOCK_SIZE :] = -math.inf
    if part.mask_BL is not None:
        mask_BL[:B, : K * BLOCK_SIZE] = part.mask_BL
    row_M = torch.zeros(num_rows, dtype=torch.int64)
    row_M[part.token_M] = part.row_M // R * rounded_R + part.row_M % R
    absent_M = torch.ones(num_rows, dtype=torch.bool)
    absent_M[part.token_M] = False
    return CachedPart(torch.arange(num_rows), row_M, query_BR, blocks_BK, mask_BL, absent_M)


def signature(step: StepInput) -> Signature:
    """What two padded steps must have in common for one to be replayed for the other."""
    sizes = [(*part.query_BR.shape, part.blocks_BK.shape[1]) for part in step.plan.cached]
    return (len(step.token_N), *(size for part in sizes for size in part))


def step_tensors(step: StepInput) -> list[Tensor]:
    """The tensors of a padded step, in an order of their own."""
    tensors = [step.token_N, step.position_N, step.slot_N, step.logit_rows]
    for part in step.plan.cached:
        assert part.mask_BL is not None
        assert part.absent_M is not None
        tensors += [part.token_M, part.row_M, part.query_BR, part.blocks_BK]
        tensors += [part.mask_BL, part.absent_M]
    return tensors


def to_device(step: StepInput, device: torch.device) -> StepInput:
    """The same padded step on another device, in tensors of its own."""
    tensors = iter([tensor.to(device, copy=True) for tensor in step_tensors(step)])
    token_N, position_N, slot_N, logit_rows = (next(tensors) for _ in range(4))
    parts = [CachedPart(*(next(tensors) for _ in range(6))) for _ in step.plan.cached]
    plan = AttentionPlan(tuple(parts), ())
    return StepInput(token_N, position_N, slot_N, plan, logit_rows)


def _rounded_up(size: int) -> int:
    return 1 << (size - 1).bit_length()
