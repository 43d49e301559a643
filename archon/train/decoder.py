"""A trainable decoder, which is the engine's transformer with gradients.

``archon.engine.model.decoder`` computes without gradients: it writes keys and values to a cache,
fuses projections, and may store quantized weights. This decoder computes the same function on
complete texts, without a cache. It uses the engine's configuration, family traits, norms and RoPE,
and a test compares the logits of the two implementations.

Parameters have the same names as in Hugging Face's files, so ``state_dict`` is the content of a
model folder. Adapter parameters are named as peft names them.

Shape suffixes: B rows, T tokens of a row, E width, H query heads, G key-value heads, D width of a
head, I width of a projection, X experts, V vocabulary.

Experts are computed and can be trained, but without a loss that spreads tokens over them; adapters
do not change them, since the engine cannot apply such adapters.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from archon.engine.model.attention import Scores
from archon.engine.model.config import DecoderConfig, LayerConfig
from archon.engine.model.decoder import final_logits, rms_norm
from archon.engine.model.families.traits import EMBEDDING, HEAD, OUTPUT_NORM, layer_prefix
from archon.engine.model.feed_forward import ACTIVATIONS, route
from archon.engine.model.rope import Rope, RopeAngles, RopeTable, apply_rope
from archon.engine.model.weights import (
    EXPERT,
    Experts,
    GatedWeights,
    LayerWeights,
    WeightSource,
    expert_tensors,
    layer_parameters,
    layer_shapes,
    layer_tensors,
    split_fused_tensor,
)

_Angles = Mapping[Rope | None, RopeAngles | None]
_Masks = Mapping[int | None, Tensor]
"""Masks by the window of a layer: (B, 1, T, T) each, True for visible tokens."""


class TrainableDecoder(nn.Module):
    """A decoder-only transformer over packed texts.

    Parameters
    ----------
    tied
        Whether the head shares its weight with the embedding.
    """

    def __init__(self, config: DecoderConfig, *, tied: bool) -> None:
        super().__init__()
        self.config, self.tied = config, tied
        self.checkpoints = False
        """True for gradient checkpointing: the backward pass recomputes the activations of each
        layer instead of storing them. This saves memory and takes about a third more time (Chen et
        al. 2016, arXiv 1604.06174)."""
        self.model = _Body(config)
        self.lm_head = nn.Linear(config.width, config.vocab_size, bias=False)
        if tied:
            self.lm_head.weight = self.model.embed_tokens.weight

    def forward(self, token_BT: Tensor, position_BT: Tensor, text_BT: Tensor) -> Tensor:
        """Return the normalised output of the last layer for each token, (B, T, E) in float32.

        Parameters
        ----------
        position_BT
            Position of each token in its text, from 0.
        text_BT
            Index of the text to which each token belongs. A token attends to itself, to earlier
            tokens of the same text, and to earlier tokens of text 0, the common prefix of the row.
        """
        model = self.model
        x_BTE = model.embed_tokens(token_BT)
        x_BTE = x_BTE if x_BTE.dtype == torch.float64 else x_BTE.float()
        x_BTE = x_BTE * self.config.embedding_scale
        angles = self._angles(position_BT, text_BT, x_BTE.dtype)
        masks = self._masks(position_BT, text_BT)
        for layer in model.layers:
            if self.checkpoints and torch.is_grad_enabled():
                x_BTE = checkpoint(layer, x_BTE, angles, masks, use_reentrant=False)
            else:
                x_BTE = layer(x_BTE, angles, masks)
        return model.norm(x_BTE)

    def _angles(self, position_BT: Tensor, text_BT: Tensor, dtype: torch.dtype) -> _Angles:
        found: dict[Rope | None, RopeAngles | None] = {None: None}
        is_long_BT = _is_long(self.config.long_after, position_BT, text_BT)
        shape = (*position_BT.shape, 1, -1)
        for rope in self.config.ropes:
            table = RopeTable(rope, position_BT.device, dtype)
            is_long_N = None if is_long_BT is None else is_long_BT.flatten()
            cos, sin = table.angles(position_BT.flatten(), is_long_N)
            found[rope] = (cos.to(dtype).view(shape), sin.to(dtype).view(shape))
        return found

    def _masks(self, position_BT: Tensor, text_BT: Tensor) -> _Masks:
        T = position_BT.shape[1]
        earlier_TT = torch.ones(T, T, dtype=torch.bool, device=position_BT.device).tril()
        visible_BTT = (text_BT[:, :, None] == text_BT[:, None, :]) | (text_BT[:, None, :] == 0)
        mask_BTT = visible_BTT & earlier_TT
        distance_BTT = position_BT[:, :, None] - position_BT[:, None, :]
        return {
            window: (mask_BTT if window is None else mask_BTT & (distance_BTT < window))[:, None]
            for window in self.config.windows
        }

    def logits(self, hidden: Tensor) -> Tensor:
        """Compute logits: (…, E) → (…, V).

        The head is the largest matrix product, so pass only the tokens whose logits are needed.
        """
        return final_logits(self.lm_head(hidden), self.config)


def _is_long(long_after: int | None, position_BT: Tensor, text_BT: Tensor) -> Tensor | None:
    """Return True for the tokens of long texts (``Rope.long_after``); None if there are none.

    The prefix of a row is long if one of its texts is.
    """
    if long_after is None or int(position_BT.max()) < long_after:
        return None
    same_BTT = text_BT[:, :, None] == text_BT[:, None, :]
    reads_BTT = same_BTT | (text_BT[:, :, None] == 0)
    return (reads_BTT & (position_BT >= long_after)[:, None, :]).any(-1)


class _Body(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.width)
        self.layers = nn.ModuleList(_TrainableLayer(config, layer) for layer in config.layers)
        self.norm = _Norm(config.width, config)


class _TrainableLayer(nn.Module):
    """Masked grouped-query self-attention, then a feed-forward network."""

    def __init__(self, config: DecoderConfig, own: LayerConfig) -> None:
        super().__init__()
        self.config, self.own = config, own
        self._add_norm("attention_norm_E")
        self.self_attn = _Attention(config)
        self._add_norm("attention_post_norm_E")
        self._add_norm("ffn_norm_E")
        self.mlp = _Experts(config) if own.is_sparse else _FeedForward(config, config.ffn_width)
        self._add_norm("ffn_post_norm_E")

    def _add_norm(self, field: str) -> None:
        """Add the norm for a field of ``LayerWeights``, if the family uses this norm."""
        name = self.config.traits.norms.get(field)
        if name is not None:
            norm = _Norm(self.config.width, self.config)
            self.add_module(name.hf.removesuffix(".weight"), norm)

    def _normalised(self, field: str, x_BTE: Tensor) -> Tensor:
        name = self.config.traits.norms.get(field)
        return x_BTE if name is None else self.get_submodule(name.hf.removesuffix(".weight"))(x_BTE)

    def forward(self, x_BTE: Tensor, angles: _Angles, masks: _Masks) -> Tensor:
        scale = self.config.residual_scale
        normed_BTE = self._normalised("attention_norm_E", x_BTE)
        out_BTE = self.self_attn(normed_BTE, angles[self.own.rope], masks[self.own.window])
        x_BTE = x_BTE + scale * self._normalised("attention_post_norm_E", out_BTE)
        out_BTE = self.mlp(self._normalised("ffn_norm_E", x_BTE))
        return x_BTE + scale * self._normalised("ffn_post_norm_E", out_BTE)


class _Norm(nn.Module):
    """RMSNorm; the parameter is stored as in Hugging Face's files (``norm_offset``)."""

    def __init__(self, width: int, config: DecoderConfig) -> None:
        super().__init__()
        self.epsilon, self.offset = config.norm_epsilon, config.traits.norm_offset
        self.weight = nn.Parameter(torch.ones(width) - self.offset)

    def forward(self, x: Tensor) -> Tensor:
        wide = x if x.dtype == torch.float64 else x.float()
        return rms_norm(wide, self.weight + self.offset, self.epsilon)


class _Attention(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = c = config
        biases = c.biases or frozenset()
        self.widths = [n * c.head_width for n in (c.num_heads, c.num_kv_heads, c.num_kv_heads)]
        self.is_fused = "qkv_proj" in c.traits.linears["q"].hf
        if self.is_fused:
            self.qkv_proj = nn.Linear(c.width, sum(self.widths), bias=False)
        else:
            self.q_proj = nn.Linear(c.width, self.widths[0], bias="q_bias" in biases)
            self.k_proj = nn.Linear(c.width, self.widths[1], bias="k_bias" in biases)
            self.v_proj = nn.Linear(c.width, self.widths[2], bias="v_bias" in biases)
        self.o_proj = nn.Linear(self.widths[0], c.width, bias="output_bias" in biases)
        self.qk_norm = c.traits.qk_norm
        if self.qk_norm != "none":
            [q_size], [k_size] = (layer_shapes(c)[field] for field in ("q_norm", "k_norm"))
            self.q_norm, self.k_norm = _Norm(q_size, c), _Norm(k_size, c)
        self.scores = Scores(c.attention_scale, c.attention_softcap)

    def forward(self, x_BTE: Tensor, angles: RopeAngles | None, mask_B1TT: Tensor) -> Tensor:
        D, dtype = self.config.head_width, x_BTE.dtype
        if self.is_fused:
            q_BTI, k_BTI, v_BTI = self.qkv_proj(x_BTE).split(self.widths, dim=-1)
        else:
            q_BTI, k_BTI, v_BTI = self.q_proj(x_BTE), self.k_proj(x_BTE), self.v_proj(x_BTE)
        if self.qk_norm == "projection":
            q_BTI, k_BTI = self.q_norm(q_BTI), self.k_norm(k_BTI)
        q_BTHD, k_BTGD, v_BTGD = (x.unflatten(-1, (-1, D)) for x in (q_BTI, k_BTI, v_BTI))
        if self.qk_norm == "head":
            q_BTHD, k_BTGD = self.q_norm(q_BTHD), self.k_norm(k_BTGD)
        if angles is not None:
            q_BTHD, k_BTGD = apply_rope(q_BTHD, angles), apply_rope(k_BTGD, angles)
        q_BHTD, k_BGTD, v_BGTD = (x.to(dtype).transpose(1, 2) for x in (q_BTHD, k_BTGD, v_BTGD))
        out_BHTD = _attend(q_BHTD, k_BGTD, v_BGTD, mask_B1TT, self.scores)
        return self.o_proj(out_BHTD.transpose(1, 2).flatten(2))


def _attend(
    q_BHTD: Tensor, k_BGTD: Tensor, v_BGTD: Tensor, mask_B1TT: Tensor, scores: Scores
) -> Tensor:
    if not scores.softcap:
        return functional.scaled_dot_product_attention(
            q_BHTD, k_BGTD, v_BGTD, attn_mask=mask_B1TT, enable_gqa=True, scale=scores.scale
        )
    repeats = q_BHTD.shape[1] // k_BGTD.shape[1]
    k_BHTD, v_BHTD = (x.repeat_interleave(repeats, dim=1) for x in (k_BGTD, v_BGTD))
    scale = q_BHTD.shape[-1] ** -0.5 if scores.scale is None else scores.scale
    scores_BHTT = q_BHTD @ k_BHTD.transpose(-1, -2) * scale
    scores_BHTT = scores.softcap * torch.tanh(scores_BHTT / scores.softcap)
    return scores_BHTT.masked_fill(~mask_B1TT, -torch.inf).softmax(dim=-1) @ v_BHTD


class _FeedForward(nn.Module):
    def __init__(self, config: DecoderConfig, width: int) -> None:
        super().__init__()
        biases, E = config.biases or frozenset(), config.width
        self.is_fused = "gate_up_proj" in config.traits.linears["gate"].hf
        if self.is_fused:
            self.gate_up_proj = nn.Linear(E, 2 * width, bias=False)
        else:
            self.gate_proj = nn.Linear(E, width, bias="gate_bias" in biases)
            self.up_proj = nn.Linear(E, width, bias="up_bias" in biases)
        self.down_proj = nn.Linear(width, E, bias="down_bias" in biases)
        self.activation = ACTIVATIONS[config.traits.activation]

    def forward(self, x: Tensor) -> Tensor:
        if self.is_fused:
            gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        else:
            gate, up = self.gate_proj(x), self.up_proj(x)
        return self.down_proj(self.activation(gate) * up)


class _Experts(nn.Module):
    """A mixture of experts (``archon.engine.model.feed_forward.MixtureOfExperts``)."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        assert config.experts is not None
        self.own = own = config.experts
        self.gate = nn.Linear(config.width, own.num_experts, bias=False)
        self.experts = nn.ModuleList(
            _FeedForward(config, own.width) for _ in range(own.num_experts)
        )
        self.has_shared = own.shared_width > 0
        if self.has_shared:
            self.shared_expert = _FeedForward(config, own.shared_width)
            self.shared_expert_gate = nn.Linear(config.width, 1, bias=False)

    def forward(self, x_BTE: Tensor) -> Tensor:
        x_NE = x_BTE.flatten(0, 1)
        share_NU, expert_NU = route(x_NE, self.gate.weight.to(x_NE.dtype), self.own)
        out_NE = torch.zeros_like(x_NE)
        for number in expert_NU.unique().tolist():
            rows, at = torch.where(expert_NU == number)
            expert_ME = self.experts[number](x_NE[rows]) * share_NU[rows, at].unsqueeze(1)
            out_NE = out_NE.index_add(0, rows, expert_ME.to(out_NE.dtype))
        if self.has_shared:
            share_N1 = torch.sigmoid(self.shared_expert_gate(x_NE))
            out_NE = out_NE + share_N1 * self.shared_expert(x_NE)
        return out_NE.view_as(x_BTE)


def decoder_of(source: WeightSource) -> TrainableDecoder:
    """Return a float32 decoder with the parameters of a source, such as a file or a folder."""
    embedding, head = source.embedding(), source.head()
    layers = dict(layer_parameters(source))
    model = TrainableDecoder(source.config, tied=torch.equal(embedding, head))
    norm = source.output_norm() - source.config.traits.norm_offset
    outer = {EMBEDDING.hf: embedding, OUTPUT_NORM.hf: norm, HEAD.hf: head}
    model.load_state_dict(outer | layers)
    return model


def initialise(model: TrainableDecoder, seed: int) -> None:
    """Initialise matrices with normal random numbers and biases with 0; leave norms at 1.

    The standard deviation is 0.02. For the two projections per layer whose output is added to the
    residual stream, it is 0.02 / √(2L) in a model of L layers, so that the stream does not grow
    with depth (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners").
    """
    generator = torch.Generator().manual_seed(seed)
    residual_scale = (2 * model.config.num_layers) ** -0.5
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.dim() > 1:
                is_residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                scale = residual_scale if is_residual else 1
                parameter.normal_(std=0.02 * scale, generator=generator)


class TrainedWeights:
    """A ``WeightSource`` for the engine that reads the current parameters of a decoder in training.

    Adapters are merged into the weights.
    """

    is_tied = False  # an adapter may change the head alone

    def __init__(self, model: TrainableDecoder) -> None:
        self.model, self.config = model, model.config

    def embedding(self) -> Tensor:
        return self._get(EMBEDDING.hf)

    def head(self) -> Tensor:
        return self._get(HEAD.hf)

    def output_norm(self) -> Tensor:
        return self._get(OUTPUT_NORM.hf) + self.config.traits.norm_offset

    def layer(self, index: int) -> LayerWeights:
        found: dict[str, Any] = {}
        offset, of_experts = self.config.traits.norm_offset, expert_tensors(self.config, index)
        for field, name in layer_tensors(self.config, index).items():
            if field not in of_experts:
                tensor = self._get(layer_prefix(index) + name.hf)
                tensor = split_fused_tensor(self.config, index, field, tensor)
                found[field] = tensor + offset if "norm" in field else tensor
        if of_experts and self.config.experts is not None:
            count = self.config.experts.num_experts
            found["experts"] = Experts(count, partial(self._expert, index))
        return LayerWeights(**found)

    def _expert(self, index: int, number: int) -> GatedWeights:
        names = expert_tensors(self.config, index).values()
        at = layer_prefix(index)
        return GatedWeights(*(self._get(at + n.hf.replace(EXPERT, str(number))) for n in names))

    def _find(self, name: str) -> Tensor | None:
        """Return a parameter by its name, or None for a bias that the model does not have."""
        module, _, attribute = name.rpartition(".")
        found: Tensor | None = getattr(self.model.get_submodule(module), attribute)
        return None if found is None else found.detach().float()

    def _get(self, name: str) -> Tensor:
        found = self._find(name)
        assert found is not None
        return found
