"""Attention and its log-sum-exp on CUDA, computed by torch's kernels.

No GPU has run this yet (see ``docs/gpu.md``). The operators' arguments and results follow their
schemas; the tests check them on meta tensors.

For 16-bit inputs there are two kernels. FlashAttention-2 (Dao 2023, arXiv 2307.08691) is used if
there is no mask; it supports grouped queries. The memory-efficient kernel (Rabe & Staats 2021,
arXiv 2112.05682) is used if there is a mask; it needs a key-value head for every query head.
float32 inputs use ``plain_attention``, whose products are not rounded to 16 bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

_HALF = (torch.bfloat16, torch.float16)
_WIDTH_MULTIPLE, _MAX_WIDTH = 8, 256


def supports(q_BHTD: Tensor, mask_BTL: Tensor | None = None) -> bool:
    """Return True if the kernels support the device, dtype and widths of queries and mask."""
    width = q_BHTD.shape[-1]
    fits = width % _WIDTH_MULTIPLE == 0 and width <= _MAX_WIDTH
    if mask_BTL is not None:
        fits &= mask_BTL.shape[-1] % _WIDTH_MULTIPLE == 0
    return q_BHTD.device.type == "cuda" and q_BHTD.dtype in _HALF and fits


def attention(
    q_BHTD: Tensor,
    k_BGLD: Tensor,
    v_BGLD: Tensor,
    *,
    mask_BTL: Tensor | None,
    causal: bool,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute ``archon.engine.model.attention.partial_attention`` with CUDA kernels."""
    if mask_BTL is None:
        out, lse, *_ = torch.ops.aten._scaled_dot_product_flash_attention(
            q_BHTD, k_BGLD, v_BGLD, is_causal=causal, scale=scale
        )
        return out, lse
    B, H, T, _ = q_BHTD.shape
    repeats = H // k_BGLD.shape[1]
    if repeats > 1:
        k_BGLD, v_BGLD = (x.repeat_interleave(repeats, dim=1) for x in (k_BGLD, v_BGLD))
    bias_BHTL = mask_BTL[:, None].expand(B, H, T, -1)
    out, lse, *_ = torch.ops.aten._scaled_dot_product_efficient_attention(
        q_BHTD, k_BGLD, v_BGLD, bias_BHTL, compute_log_sumexp=True, is_causal=causal, scale=scale
    )
    return out, lse[..., :T]  # the kernel rounds the number of rows up
