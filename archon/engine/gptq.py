"""Rounding weights to int4 so that a layer's outputs, and not its weights, stay near.

GPTQ (Frantar et al. 2022, arXiv 2210.17323) takes an output's weights input by input. What rounding
weight w_i to q_i has done to the outputs, the weights behind it make good as well as they can:

    w_j ← w_j - (w_i - q_i) · U_ij / U_ii    for j > i

where U is upper triangular, UᵀU = H⁻¹, and H = XᵀX / N + λ the second moment of the layer's inputs.
The scale of a group of inputs is chosen when its turn comes, for what its weights are by then.

The inputs come from the model itself: it reads texts that it has written, layer by layer, and each
layer reads what the layers before it give once they are rounded. So no data is needed.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from archon.engine.decoder import DecoderLayer, rotary_angles
from archon.engine.kv_cache import KVCache, num_blocks_for
from archon.engine.linear import GROUP_INPUTS, GroupedWeight, choose_scale, round_to_scale
from archon.engine.plan import build_step
from archon.engine.span import Span
from archon.engine.weights import WeightSource

logger = logging.getLogger("archon.engine")

_DAMPING = 0.05
"""λ, in units of the mean of H's diagonal."""
_MOST_INPUTS = 1536
"""Inputs whose weights make errors good for each other: more take far longer to compute, and some
thousand tokens do not tell how so many are related."""
_CPU = torch.device("cpu")


def fit(weight_OI: Tensor, x_NI: Tensor) -> GroupedWeight:
    """Round a weight for a layer that reads such inputs."""
    runs = zip(weight_OI.split(_MOST_INPUTS, 1), x_NI.split(_MOST_INPUTS, 1), strict=True)
    fitted = [_fit_run(weight, x.contiguous()) for weight, x in runs]
    return GroupedWeight(
        torch.cat([part.scale_OG for part in fitted], dim=1),
        torch.cat([part.weight_s4_OI for part in fitted], dim=1),
    )


def _fit_run(weight_OI: Tensor, x_NI: Tensor) -> GroupedWeight:
    inverse_II = inverse_factor(x_NI.t() @ x_NI)
    left_IO = weight_OI.t().contiguous()  # what is still to be rounded, changed as it goes
    rounded_IO = torch.empty_like(left_IO, dtype=torch.int8)
    scales = []
    for start in range(0, len(left_IO), GROUP_INPUTS):
        stop = start + GROUP_INPUTS
        group, factor = left_IO[start:stop], inverse_II[start:stop]
        scale_O = choose_scale(group.t())
        scales.append(scale_O)
        errors = torch.empty_like(group)
        for i in range(GROUP_INPUTS):
            rounded = round_to_scale(group[i], scale_O)
            rounded_IO[start + i] = rounded
            errors[i] = (group[i] - rounded * scale_O) / factor[i, start + i]
            group[i + 1 :].addr_(factor[i, start + i + 1 : stop], errors[i], alpha=-1)
        left_IO[stop:].addmm_(factor[:, stop:].t(), errors, alpha=-1)
    return GroupedWeight(torch.stack(scales, dim=1), rounded_IO.t().contiguous())


def inverse_factor(moment_II: Tensor) -> Tensor:
    """H → the upper triangular U with UᵀU = (H + λ)⁻¹.

    Cholesky's factor of H with its rows and columns reversed, reversed again, is upper triangular:
    H = RRᵀ, and so U = R⁻¹.
    """
    mean = float(moment_II.diagonal().mean())
    damped = moment_II + torch.eye(len(moment_II)) * max(_DAMPING * mean, 1e-12)
    upper = torch.linalg.cholesky(damped.flip(0, 1)).flip(0, 1)
    return torch.linalg.solve_triangular(upper, torch.eye(len(upper)), upper=True)


class _Fitted:
    """A linear layer that rounds its weight for the first inputs that it gets."""

    def __init__(self, weight_OI: Tensor) -> None:
        self.weight_OI = weight_OI
        self.rounded: GroupedWeight | None = None

    def __call__(self, x_NI: Tensor) -> Tensor:
        if self.rounded is None:
            self.rounded = fit(self.weight_OI, x_NI)
            self.weight_OI = self.rounded.dequantize().bfloat16()
        return (x_NI.bfloat16() @ self.weight_OI.t()).float()


@torch.inference_mode()
def round_layers(source: WeightSource, texts: Sequence[Sequence[int]]) -> dict[str, GroupedWeight]:
    """The int4 weights of every layer, by their names; gates before ups.

    Parameters
    ----------
    texts : token ids that the model reads meanwhile, all of them at once.
    """
    config = source.config
    step = build_step(_spans(texts), _CPU, torch.bfloat16)
    num_blocks = sum(num_blocks_for(len(text)) for text in texts)
    cache = KVCache(replace(config, num_layers=1), num_blocks, torch.bfloat16, _CPU)
    half = torch.arange(0, config.head_width, 2, dtype=torch.float32)
    rotation = rotary_angles(step.position_N, config.rope_base ** -(half / config.head_width))
    x_NE = source.embedding()[step.token_N]
    rounded: dict[str, GroupedWeight] = {}
    for index in range(config.num_layers):
        logger.info("rounding to int4: layer %d of %d", index + 1, config.num_layers)
        w = source.layer(index)
        layer = DecoderLayer(w, config, "bf16", _CPU)
        fitted = {"gate_up": _Fitted(torch.cat([w.gate, w.up])), "down": _Fitted(w.down)}
        layer.gate_up, layer.down = fitted["gate_up"], fitted["down"]
        x_NE = layer(x_NE, rotation, step, cache, 0)
        for name, linear in fitted.items():
            assert linear.rounded is not None
            rounded[f"layers.{index}.{name}"] = linear.rounded
    return rounded


def _spans(texts: Sequence[Sequence[int]]) -> list[Span]:
    """Every text from its beginning, each in blocks of its own; nobody wants logits."""
    spans, first = [], 0
    for text in texts:
        stop = first + num_blocks_for(len(text))
        spans.append(Span(text, 0, array("i", range(first, stop)), 0, 0))
        first = stop
    return spans
