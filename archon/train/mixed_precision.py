"""Mixed precision: the dtype of products in training."""

from __future__ import annotations

import torch
from torch import nn

from archon.spec.training import DType


def multiplies_bf16(device: torch.device) -> bool:
    """Whether products in bfloat16 are no slower than in float32.

    An x86 CPU without AVX-512 takes over four times as long for them.
    """
    return device.type != "cpu" or torch.backends.cpu.get_cpu_capability() not in {
        "AVX2", "DEFAULT", "NO AVX",
    }  # fmt: skip


def autocast(dtype: DType, device: torch.device) -> torch.autocast:
    """Computes what is inside in ``dtype``; in float32 where bfloat16 would only cost time."""
    in_bf16 = dtype == "bf16" and multiplies_bf16(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=in_bf16)


def round_frozen(model: nn.Module, dtype: DType, device: torch.device) -> None:
    """Round the weights that are not trained to ``dtype``, and keep them in what is multiplied."""
    if dtype == "float32":
        return
    for parameter in model.parameters():
        if not parameter.requires_grad and parameter.dim() > 1:
            rounded = parameter.data.bfloat16()
            parameter.data = rounded if multiplies_bf16(device) else rounded.float()
