"""Mixed precision: matrix products in bfloat16, trained parameters in float32."""

from __future__ import annotations

import torch
from torch import nn

from archon.spec.training import DType

SAVED_DTYPE: dict[DType, torch.dtype] = {"float32": torch.float32, "bf16": torch.bfloat16}
"""Number format of matrix products in training → number format of saved weights."""


def has_fast_bf16(device: torch.device) -> bool:
    """Return whether matrix products in bfloat16 are at least as fast as in float32.

    On x86 CPUs without AVX-512, they take more than four times as long.
    """
    return device.type != "cpu" or torch.backends.cpu.get_cpu_capability() not in {
        "AVX2", "DEFAULT", "NO AVX",
    }  # fmt: skip


def autocast(dtype: DType, device: torch.device) -> torch.autocast:
    """Return a context in which matrix products are computed in ``dtype``.

    If bfloat16 is slow on the device (``has_fast_bf16``), products are computed in float32.
    """
    in_bf16 = dtype == "bf16" and has_fast_bf16(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=in_bf16)


def round_frozen(model: nn.Module, dtype: DType, device: torch.device) -> None:
    """Round the matrices that are not trained to ``dtype``.

    They are stored as bfloat16 if products are computed in bfloat16, else as float32.
    """
    if dtype == "float32":
        return
    for parameter in model.parameters():
        if not parameter.requires_grad and parameter.dim() > 1:
            rounded = parameter.data.bfloat16()
            parameter.data = rounded if has_fast_bf16(device) else rounded.float()
