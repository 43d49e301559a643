"""What adapters do in a decoder: to each product alone, or to the weights once and for all.

An engine runs adapters *unmerged*: every layer computes W·x for all tokens of a step, and
B·(A·x) for those alone whose request asks for that adapter. So texts under several adapters, and
under none, meet in one batch over one copy of the weights (Chen et al. 2023, arXiv 2310.18547).
*Merged*, as one more set of weights, an adapter is the same to within rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from archon.engine.model.config import DecoderConfig
from archon.engine.model.hf_names import LAYER_NAMES, layer_prefix
from archon.engine.model.lora_file import Adapter
from archon.engine.model.weights import LayerWeights, WeightSource
from archon.errors import ModelFileError

FIELDS = {
    name.removesuffix(".weight"): field
    for name, field in LAYER_NAMES.items()
    if name.endswith("_proj.weight")
}
"""Linear layers of a layer by their names in files → in ``LayerWeights``."""
HEAD = "lm_head"


def check_adapter(adapter: Adapter, config: DecoderConfig) -> None:
    """See that an adapter is for a decoder of this shape.

    Raises
    ------
    ModelFileError : it changes a layer that is not there, or one of another shape.
    """
    shapes = _shapes(config)
    known = {
        layer_prefix(index) + name: shapes[name]
        for index in range(config.num_layers)
        for name in FIELDS
    }
    known[HEAD] = shapes[HEAD]
    for name, (a_RI, b_OR) in adapter.pairs.items():
        if name not in known:
            raise ModelFileError(f"{adapter.path}: changes {name!r}, which this model has not")
        shape = (len(b_OR), a_RI.shape[1])
        if shape != known[name]:
            raise ModelFileError(
                f"{adapter.path}: {name} is {shape}, the model's {known[name]}; "
                "the adapter is for another model"
            )


def _shapes(config: DecoderConfig) -> dict[str, tuple[int, int]]:
    """(O, I) of every linear layer."""
    c = config
    q_width, kv_width = c.num_heads * c.head_width, c.num_kv_heads * c.head_width
    return {
        "self_attn.q_proj": (q_width, c.width),
        "self_attn.k_proj": (kv_width, c.width),
        "self_attn.v_proj": (kv_width, c.width),
        "self_attn.o_proj": (c.width, q_width),
        "mlp.gate_proj": (c.ffn_width, c.width),
        "mlp.up_proj": (c.ffn_width, c.width),
        "mlp.down_proj": (c.width, c.ffn_width),
        HEAD: (c.vocab_size, c.width),
    }


@dataclass(frozen=True, slots=True)
class LowRank:
    """What an adapter adds to a product: B·(A·x), B times the adapter's scale."""

    a_RI: Tensor
    b_OR: Tensor

    def __call__(self, x_NI: Tensor) -> Tensor:
        return (x_NI @ self.a_RI.t()) @ self.b_OR.t()

    def to(self, device: torch.device) -> LowRank:
        return LowRank(self.a_RI.to(device), self.b_OR.to(device))


_JOINED = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "output": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
"""Products that the engine computes → the linear layers that each of them joins."""


def layer_changes(adapter: Adapter, index: int, config: DecoderConfig) -> dict[str, LowRank]:
    """What an adapter adds to the products of one layer, by their names; joined as they are."""
    shapes, found = _shapes(config), {}
    for product, names in _JOINED.items():
        pairs = [adapter.pairs.get(layer_prefix(index) + name) for name in names]
        a = [pair[0] for pair in pairs if pair is not None]
        if a:
            blocks = [
                adapter.scale * pair[1] if pair is not None else torch.zeros(shapes[name][0], 0)
                for name, pair in zip(names, pairs, strict=True)
            ]
            found[product] = LowRank(torch.cat(a), torch.block_diag(*blocks))
    return found


def head_change(adapter: Adapter) -> LowRank | None:
    """What an adapter adds to the head."""
    if HEAD not in adapter.pairs:
        return None
    a_RI, b_OR = adapter.pairs[HEAD]
    return LowRank(a_RI, adapter.scale * b_OR)


class AdaptedWeights:
    """The parameters of a model with an adapter merged into them.

    Raises
    ------
    ModelFileError : the adapter is for another model.
    """

    def __init__(self, source: WeightSource, adapter: Adapter) -> None:
        check_adapter(adapter, source.config)
        self.source, self.config, self.adapter = source, source.config, adapter

    def embedding(self) -> Tensor:
        return self.source.embedding()

    def head(self) -> Tensor:
        return self._merged(HEAD, self.source.head())

    def output_norm(self) -> Tensor:
        return self.source.output_norm()

    def layer(self, index: int) -> LayerWeights:
        weights, at = self.source.layer(index), layer_prefix(index)
        changes = {
            field: self._merged(at + name, getattr(weights, field))
            for name, field in FIELDS.items()
            if at + name in self.adapter.pairs
        }
        return replace(weights, **changes)

    def _merged(self, name: str, weight_OI: Tensor) -> Tensor:
        if name not in self.adapter.pairs:
            return weight_OI
        a_RI, b_OR = self.adapter.pairs[name]
        return weight_OI + self.adapter.scale * (b_OR @ a_RI)
