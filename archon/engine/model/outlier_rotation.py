"""Outlier rotation: a Hadamard rotation of the residual stream before rounding to int8.

A few channels of the residual stream are far larger than the others. If a row has a single int8
scale, these outliers determine it, and the other channels are rounded to very few values. A basis
that mixes many channels has no outliers. A transformer computes the same function in any
orthogonal basis of its residual stream if

- all weights that read or write the stream are rotated as well, and
- the weights of the norms, which scale channels, are multiplied into the layers that follow them.

The weights are rotated once, when they are loaded, so rotation does not slow down a step. The
attention values of each head, and the output projection that reads them, are rotated in the same
way. (QuaRot: Ashkboos et al. 2024, arXiv 2404.00456.)

A norm *after* a sublayer scales the channels of the sublayer's output, and no layer between the
norm and the stream could absorb the norm's weights. Models with such norms therefore keep the basis
of their stream and the weights of their norms. There, the decoder rotates the input of each
sublayer and of the head in every step instead (``input_rotation``). This costs little, since the
Hadamard matrix needs a few additions per channel. Without it, the outliers of Gemma's stream would
leave its other channels two or three bits.

Despite the name, this has nothing to do with the rotary position embedding
(``archon.engine.model.rope``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from archon.engine.model.families.traits import layer_prefix
from archon.engine.model.hadamard import HadamardRotation
from archon.engine.model.lora import HEAD_NAME, LINEAR_NAMES, Adapter
from archon.engine.model.weights import GatedWeights, LayerWeights, WeightSource

_READERS = ("gate", "up", "router", "shared_router", "shared_gate", "shared_up")
"""Fields of ``LayerWeights`` that read the input of the feed-forward network."""
_WRITERS = ("down", "shared_down")
"""Fields that write its output."""


class OutlierRotatedWeights:
    """Parameters of an equivalent model whose residual stream is in a rotated basis.

    Parameters
    ----------
    source
        Parameters of the original model.
    """

    is_tied = False  # the head absorbs the weights of the output norm

    def __init__(self, source: WeightSource) -> None:
        self.source, self.config = source, source.config
        self._rotates = not self.config.traits.normalises_outputs
        self._inputs = HadamardRotation(self.config.width)
        self._stream = self._inputs if self._rotates else _NoRotation()
        self._head = HadamardRotation(self.config.head_width)
        self._norms: dict[int, tuple[Tensor | None, Tensor | None]] = {}

    @property
    def input_rotation(self) -> HadamardRotation | None:
        """Rotation that the decoder applies to the inputs of sublayers and of the head; None if the
        stream itself is rotated."""
        return None if self._rotates else self._inputs

    def embedding(self) -> Tensor:
        return self._stream.inputs(self.source.embedding())

    def head(self) -> Tensor:
        return self._reads(self.source.head(), self.source.output_norm())

    def output_norm(self) -> Tensor:
        return torch.ones(self.config.width)

    def hidden(self, x: Tensor) -> Tensor:
        """Convert normalised outputs of the rotated model, (…, E), to those of the original."""
        return self._stream.back(x) * self.source.output_norm()

    def readout(self, weight_E: Tensor) -> Tensor:
        """Convert a weight that reads the original model's normalised outputs, such as a reward
        head's, (E,), to one that reads the rotated model's normalised outputs."""
        return self._stream.inputs(weight_E * self.source.output_norm())

    def layer(self, index: int) -> LayerWeights:
        w = self.source.layer(index)
        attention_norm_E, ffn_norm_E = map(self._absorbed, (w.attention_norm_E, w.ffn_norm_E))
        output = self._head.inputs(w.attention_output.unflatten(1, (-1, self.config.head_width)))
        changes: dict[str, Any] = {
            "q": self._reads(w.q, attention_norm_E),
            "k": self._reads(w.k, attention_norm_E),
            "v": self._within_heads(self._reads(w.v, attention_norm_E)),
            "v_bias": None if w.v_bias is None else self._within_heads(w.v_bias.unsqueeze(1))[:, 0],
            "attention_output": self._stream.outputs(output.flatten(1)),
            "output_bias": self._writes_bias(w.output_bias),
            "down_bias": self._writes_bias(w.down_bias),
        }
        for field in _READERS:
            weight = getattr(w, field)
            changes[field] = None if weight is None else self._reads(weight, ffn_norm_E)
        for field in _WRITERS:
            weight = getattr(w, field)
            changes[field] = None if weight is None else self._stream.outputs(weight)
        if w.experts is not None:
            changes["experts"] = w.experts.map(
                lambda expert: GatedWeights(
                    self._reads(expert.gate, ffn_norm_E),
                    self._reads(expert.up, ffn_norm_E),
                    self._stream.outputs(expert.down),
                )
            )
        if self._rotates:
            changes |= {norm: torch.ones(self.config.width) for norm in self.config.traits.norms}
        return replace(w, **changes)

    def adapter(self, adapter: Adapter) -> Adapter:
        """Convert an adapter of the original model to one of the rotated model.

        The new A reads rotated inputs and absorbs the weights of the norm before its layer. The new
        B writes rotated outputs.
        """
        pairs = dict(adapter.pairs)
        for index in range(self.config.num_layers):
            for field, name in LINEAR_NAMES.items():
                pair = adapter.pair(index, field)
                if pair is not None:
                    pairs[layer_prefix(index) + name] = self._rotated_pair(index, field, *pair)
        if HEAD_NAME in pairs:
            a, b = pairs[HEAD_NAME]
            pairs[HEAD_NAME] = (self._reads(a, self.source.output_norm()), b)
        return replace(adapter, pairs=pairs)

    def _rotated_pair(
        self, index: int, field: str, a_RI: Tensor, b_OR: Tensor
    ) -> tuple[Tensor, Tensor]:
        attention_norm_E, ffn_norm_E = self._norms_of(index)
        match field:
            case "attention_output":
                heads = self._head.inputs(a_RI.unflatten(1, (-1, self.config.head_width)))
                return heads.flatten(1), self._stream.outputs(b_OR)
            case "down":
                return a_RI, self._stream.outputs(b_OR)
            case "gate" | "up":
                return self._reads(a_RI, ffn_norm_E), b_OR
            case "v":
                return self._reads(a_RI, attention_norm_E), self._within_heads(b_OR)
            case "q" | "k":
                return self._reads(a_RI, attention_norm_E), b_OR
            case _:
                raise AssertionError(f"no rule for the linear layer {field}")

    def _norms_of(self, index: int) -> tuple[Tensor | None, Tensor | None]:
        """Return the absorbed norms of a layer, cached: reading them dequantizes the layer."""
        if index not in self._norms:
            w = self.source.layer(index)
            self._norms[index] = (self._absorbed(w.attention_norm_E), self._absorbed(w.ffn_norm_E))
        return self._norms[index]

    def _reads(self, weight: Tensor, norm_E: Tensor | None) -> Tensor:
        """Rotate weights that read the stream; they first absorb ``norm_E`` if it is given."""
        return self._inputs.inputs(weight if norm_E is None else weight * norm_E)

    def _absorbed(self, norm_E: Tensor | None) -> Tensor | None:
        """Return the weights of a norm that the layers after it absorb."""
        return norm_E if self._rotates else None

    def _writes_bias(self, bias_E: Tensor | None) -> Tensor | None:
        """Rotate a bias that is added to the stream."""
        return None if bias_E is None else self._stream.outputs(bias_E.unsqueeze(1))[:, 0]

    def _within_heads(self, weight_OI: Tensor) -> Tensor:
        heads_GDI = weight_OI.unflatten(0, (-1, self.config.head_width))
        return self._head.inputs(heads_GDI.transpose(1, 2)).transpose(1, 2).flatten(0, 1)


class _NoRotation:
    """Identity with the methods of ``HadamardRotation``, for streams that keep their basis."""

    def inputs(self, weight: Tensor) -> Tensor:
        return weight

    def back(self, x: Tensor) -> Tensor:
        return x

    def outputs(self, weight_OI: Tensor) -> Tensor:
        return weight_OI
