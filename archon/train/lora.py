"""Low-rank adapters on a decoder with frozen weights (LoRA: Hu et al. 2021, arXiv 2106.09685).

A linear layer with the weight W, (O, I), is extended by two matrices A, (R, I), and B, (O, R),
whose rank R is far smaller than I and O. Only A and B are trained; the layer uses W + (alpha /
R)·B·A.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from archon.engine.model.lora import Adapter
from archon.errors import ModelFileError, UsageError

_IN_EXPERTS = re.compile(r"\.mlp\.(gate|experts\..*|shared_expert.*)$")
"""Names of the linear layers of a mixture of experts."""


class LoRALinear(nn.Module):
    """A linear layer with an adapter: y = x·Wᵀ + (alpha / R) · dropout(x)·Aᵀ·Bᵀ.

    The shapes are (…, I) for x and (…, O) for y. ``add_adapter`` sets B to zero, so that training
    starts from the unchanged model.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float, dropout: float) -> None:
        super().__init__()
        self.base, self.scale = base, alpha / rank
        self.dropout = nn.Dropout(dropout)
        dtype = torch.float64 if base.weight.dtype == torch.float64 else torch.float32
        self.lora_A = nn.Linear(base.in_features, rank, bias=False, dtype=dtype)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False, dtype=dtype)

    @property
    def weight(self) -> Tensor:
        """Weight with the adapter merged, W + (alpha / R)·B·A: (O, I)."""
        return self.base.weight + self.scale * self.lora_B.weight @ self.lora_A.weight

    @property
    def bias(self) -> Tensor | None:
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.scale * self.lora_B(self.lora_A(self.dropout(x)))


def add_adapter(
    model: nn.Module, targets: Iterable[str], rank: int, alpha: float, dropout: float, seed: int
) -> None:
    """Add an adapter to every linear layer whose name ends in one of ``targets``.

    All other parameters are frozen. A is uniformly random in ±1/√I, and B is zero. Routers and
    experts get no adapter, since the engine cannot apply it.

    Raises
    ------
    UsageError
        A target matches no linear layer.
    """
    linears = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not _IN_EXPERTS.search(name)
    }
    selected: dict[str, nn.Linear] = {}
    for target in targets:
        found = {n: m for n, m in linears.items() if n == target or n.endswith(f".{target}")}
        if not found:
            known = ", ".join(sorted({name.rpartition(".")[2] for name in linears}))
            raise UsageError(
                f"the model has no linear layer {target!r}; choose targets from {known}"
            )
        selected |= found
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name, linear in selected.items():
        adapted = LoRALinear(linear, rank, alpha, dropout)
        with torch.no_grad():
            bound = 1 / math.sqrt(linear.in_features)
            adapted.lora_A.weight.uniform_(-bound, bound, generator=generator)
            adapted.lora_B.weight.zero_()
        _replace_module(model, name, adapted)


def resume_adapter(model: nn.Module, adapter: Adapter) -> None:
    """Attach an existing adapter to its layers, to train it further; freeze all other parameters.

    Raises
    ------
    ModelFileError
        The adapter is for another model, or its layers have different ranks.
    """
    model.requires_grad_(False)
    modules = dict(model.named_modules())
    for name, (a_RI, b_OR) in adapter.pairs.items():
        linear = modules.get(name)
        if not isinstance(linear, nn.Linear) or linear.weight.shape != (len(b_OR), a_RI.shape[1]):
            raise ModelFileError(
                f"{adapter.path}: the model has no linear layer {name!r} of this shape, so "
                "the adapter is for another model"
            )
        if len(a_RI) != adapter.rank:
            raise ModelFileError(
                f"{adapter.path}: {name} has rank {len(a_RI)}, not {adapter.rank}; an adapter can "
                "be trained further only if all its layers have the same rank (no rank_pattern)"
            )
        adapted = LoRALinear(linear, adapter.rank, adapter.scale * adapter.rank, 0)
        with torch.no_grad():
            adapted.lora_A.weight.copy_(a_RI)
            adapted.lora_B.weight.copy_(b_OR)
        _replace_module(model, name, adapted)


def _replace_module(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)


def adapter_of(model: nn.Module) -> Adapter:
    """Return the adapter of a model in training, with the current parameters."""
    found = {name: m for name, m in model.named_modules() if isinstance(m, LoRALinear)}
    first = next(iter(found.values()))
    rank = first.lora_A.out_features
    pairs = {
        name: (m.lora_A.weight.detach().float().cpu(), m.lora_B.weight.detach().float().cpu())
        for name, m in found.items()
    }
    return Adapter(rank, first.scale * rank, pairs, first.scale)
