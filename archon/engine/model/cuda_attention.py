"""Attention with its log-sum-exp on CUDA, by kernels that torch carries.

No GPU has run this yet (see ``docs/gpu.md``); what the operators take and give was read from their
schemas, and is checked on meta tensors by the tests.

Two kernels serve half precisions. Without a mask, FlashAttention-2 (Dao 2023, arXiv 2307.08691),
which knows grouped queries. Under a mask, the memory-efficient kernel (Rabe & Staats 2021, arXiv
2112.05682), which wants a key-value head for every query head. float32 stays with the plain
reference, whose products are exact.
"""

from __future__ import annotations

import torch
from torch import Tensor

_HALF = (torch.bfloat16, torch.float16)
_WIDTH_MULTIPLE, _MAX_WIDTH = 8, 256


def supports(q_BHTD: Tensor) -> bool:
    """Whether the kernels can compute with queries such as these."""
    width = q_BHTD.shape[-1]
    fits = width % _WIDTH_MULTIPLE == 0 and width <= _MAX_WIDTH
    return q_BHTD.device.type == "cuda" and q_BHTD.dtype in _HALF and fits


def attention(
    q_BHTD: Tensor, k_BGLD: Tensor, v_BGLD: Tensor, *, mask_BL: Tensor | None, causal: bool
) -> tuple[Tensor, Tensor]:
    """As ``archon.engine.model.attention.partial_attention``."""
    if mask_BL is None:
        out, lse, *_ = torch.ops.aten._scaled_dot_product_flash_attention(
            q_BHTD, k_BGLD, v_BGLD, is_causal=causal
        )
        return out, lse
    B, H, T, _ = q_BHTD.shape
    repeats = H // k_BGLD.shape[1]
    if repeats > 1:
        k_BGLD, v_BGLD = (x.repeat_interleave(repeats, dim=1) for x in (k_BGLD, v_BGLD))
    # Keys come in whole blocks, so the mask's rows are aligned as the kernel wants them.
    bias_BHTL = mask_BL[:, None, None].expand(B, H, T, -1)
    out, lse, *_ = torch.ops.aten._scaled_dot_product_efficient_attention(
        q_BHTD, k_BGLD, v_BGLD, bias_BHTL, compute_log_sumexp=True, is_causal=causal
    )
    return out, lse[..., :T]  # the kernel rounds the number of rows up
