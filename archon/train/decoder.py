"""The engine's transformer with gradients: the decoder that is trained.

``archon.engine.model.decoder`` writes keys and values into a cache, joins projections, and holds
weights in the form in which it multiplies them: none of that has a derivative. Here the same sums
stand as modules over whole texts, without a cache; configuration, names of parameters, norms and
rotary positions are the engine's own, and a test holds the logits of both against each other.

Parameters bear the names that Hugging Face's files give them, so that ``state_dict`` is what a
model's folder holds, and an adapter's names are those of peft.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from archon.engine.model.config import DecoderConfig
from archon.engine.model.decoder import rms_norm, rotary_angles, rotate
from archon.engine.model.hf_names import (
    EMBEDDING,
    HEAD,
    LAYER_NAMES,
    OUTPUT_NORM,
    layer_parameters,
    layer_prefix,
)
from archon.engine.model.weights import LayerWeights, WeightSource

Rotation = tuple[Tensor, Tensor]


class TrainableDecoder(nn.Module):
    """A decoder-only transformer over packed texts.

    Parameters
    ----------
    biased : whether q, k and v have biases; by default as the family has it.
    tied : whether the embedding is the head as well.
    """

    def __init__(self, config: DecoderConfig, *, biased: bool | None = None, tied: bool) -> None:
        super().__init__()
        self.config, self.tied = config, tied
        self.biased = config.family == "qwen2" if biased is None else biased
        self.checkpoints = False
        """Whether layers are computed once more for their gradients, in the place of keeping what
        lies between: memory for a third more time (Chen et al. 2016, arXiv 1604.06174)."""
        self.model = _Body(config, self.biased)
        self.lm_head = nn.Linear(config.width, config.vocab_size, bias=False)
        if tied:
            self.lm_head.weight = self.model.embed_tokens.weight

    def forward(self, token_BT: Tensor, position_BT: Tensor, text_BT: Tensor) -> Tensor:
        """What the last layer makes of every token, normalised: (B, T, E) in float32.

        Parameters
        ----------
        position_BT : each token's place in its own text, from 0.
        text_BT : which of its row's texts it belongs to; it attends, up to itself, to that text
            and to what is of text 0, with which all of the row begin.
        """
        model = self.model
        T = token_BT.shape[1]
        earlier_TT = torch.ones(T, T, dtype=torch.bool, device=token_BT.device).tril()
        is_read_BTT = (text_BT[:, :, None] == text_BT[:, None, :]) | (text_BT[:, None, :] == 0)
        mask_B1TT = (is_read_BTT & earlier_TT)[:, None]
        x_BTE = model.embed_tokens(token_BT)
        x_BTE = x_BTE if x_BTE.dtype == torch.float64 else x_BTE.float()
        half = torch.arange(0, self.config.head_width, 2, device=token_BT.device)
        frequency = self.config.rope_base ** -(half.to(x_BTE.dtype) / self.config.head_width)
        cos, sin = rotary_angles(position_BT.flatten(), frequency)
        shape = (*token_BT.shape, 1, -1)
        rotation = (cos.to(x_BTE.dtype).view(shape), sin.to(x_BTE.dtype).view(shape))
        for layer in model.layers:
            if self.checkpoints and torch.is_grad_enabled():
                x_BTE = checkpoint(layer, x_BTE, rotation, mask_B1TT, use_reentrant=False)
            else:
                x_BTE = layer(x_BTE, rotation, mask_B1TT)
        return model.norm(x_BTE)

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, E) → (…, V): the head is the widest of all products, so it is given only the
        tokens after which something is wanted."""
        return self.lm_head(hidden)


class _Body(nn.Module):
    def __init__(self, config: DecoderConfig, biased: bool) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.width)
        self.layers = nn.ModuleList(_Layer(config, biased) for _ in range(config.num_layers))
        self.norm = _Norm(config.width, config.norm_epsilon)


class _Layer(nn.Module):
    """Masked grouped-query self-attention, then a SwiGLU feed-forward network."""

    def __init__(self, config: DecoderConfig, biased: bool) -> None:
        super().__init__()
        self.input_layernorm = _Norm(config.width, config.norm_epsilon)
        self.self_attn = _Attention(config, biased)
        self.post_attention_layernorm = _Norm(config.width, config.norm_epsilon)
        self.mlp = _FeedForward(config)

    def forward(self, x_BTE: Tensor, rotation: Rotation, mask_B1TT: Tensor) -> Tensor:
        x_BTE = x_BTE + self.self_attn(self.input_layernorm(x_BTE), rotation, mask_B1TT)
        return x_BTE + self.mlp(self.post_attention_layernorm(x_BTE))


class _Norm(nn.Module):
    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(width)), epsilon

    def forward(self, x: Tensor) -> Tensor:
        wide = x if x.dtype == torch.float64 else x.float()
        return rms_norm(wide, self.weight, self.epsilon)


class _Attention(nn.Module):
    def __init__(self, config: DecoderConfig, biased: bool) -> None:
        super().__init__()
        self.config = c = config
        q_width, kv_width = c.num_heads * c.head_width, c.num_kv_heads * c.head_width
        self.q_proj = nn.Linear(c.width, q_width, bias=biased)
        self.k_proj = nn.Linear(c.width, kv_width, bias=biased)
        self.v_proj = nn.Linear(c.width, kv_width, bias=biased)
        self.o_proj = nn.Linear(q_width, c.width, bias=False)
        if c.norms_heads:
            self.q_norm = _Norm(c.head_width, c.norm_epsilon)
            self.k_norm = _Norm(c.head_width, c.norm_epsilon)

    def forward(self, x_BTE: Tensor, rotation: Rotation, mask_B1TT: Tensor) -> Tensor:
        D, dtype = self.config.head_width, x_BTE.dtype
        q_BTHD, k_BTGD, v_BTGD = (
            product(x_BTE).unflatten(-1, (-1, D))
            for product in (self.q_proj, self.k_proj, self.v_proj)
        )
        if self.config.norms_heads:
            q_BTHD, k_BTGD = self.q_norm(q_BTHD), self.k_norm(k_BTGD)
        q_BTHD, k_BTGD = rotate(q_BTHD, rotation), rotate(k_BTGD, rotation)
        q_BHTD, k_BGTD, v_BGTD = (x.to(dtype).transpose(1, 2) for x in (q_BTHD, k_BTGD, v_BTGD))
        out_BHTD = functional.scaled_dot_product_attention(
            q_BHTD,
            k_BGTD,
            v_BGTD,
            attn_mask=mask_B1TT,
            enable_gqa=True,
        )
        return self.o_proj(out_BHTD.transpose(1, 2).flatten(2))


class _FeedForward(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.ffn_width, bias=False)
        self.up_proj = nn.Linear(config.width, config.ffn_width, bias=False)
        self.down_proj = nn.Linear(config.ffn_width, config.width, bias=False)

    def forward(self, x_BTE: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(x_BTE)) * self.up_proj(x_BTE))


def decoder_of(source: WeightSource) -> TrainableDecoder:
    """A decoder with the parameters of a file, a folder, or any other source, in float32."""
    embedding, head = source.embedding(), source.head()
    layers = dict(layer_parameters(source))
    model = TrainableDecoder(
        source.config,
        biased=f"{layer_prefix(0)}self_attn.q_proj.bias" in layers,
        tied=torch.equal(embedding, head),
    )
    outer = {EMBEDDING: embedding, OUTPUT_NORM: source.output_norm(), HEAD: head}
    model.load_state_dict(outer | layers)
    return model


def initialise(model: TrainableDecoder, seed: int) -> None:
    """Normal weights as small as keeps the stream's size through all layers; norms stay at one.

    What writes to the stream is smaller the more layers write to it (Radford et al. 2019).
    """
    generator = torch.Generator().manual_seed(seed)
    depth = (2 * model.config.num_layers) ** -0.5
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.dim() > 1:
                writes = name.endswith(("o_proj.weight", "down_proj.weight"))
                parameter.normal_(std=0.02 * (depth if writes else 1), generator=generator)


class TrainedWeights:
    """The parameters of a decoder that is being trained, adapters merged, for an engine to run."""

    def __init__(self, model: TrainableDecoder) -> None:
        self.model, self.config = model, model.config

    def embedding(self) -> Tensor:
        return self._get(EMBEDDING)

    def head(self) -> Tensor:
        return self._get(HEAD)

    def output_norm(self) -> Tensor:
        return self._get(OUTPUT_NORM)

    def layer(self, index: int) -> LayerWeights:
        at = layer_prefix(index)
        found: dict[str, Any] = {f: self._find(at + n) for n, f in LAYER_NAMES.items()}
        return LayerWeights(**found)

    def _find(self, name: str) -> Tensor | None:
        module, _, attribute = name.rpartition(".")
        try:
            found: Tensor | None = getattr(self.model.get_submodule(module), attribute, None)
        except AttributeError:  # norms of heads, which most families do not have
            return None
        return None if found is None else found.detach().float()

    def _get(self, name: str) -> Tensor:
        found = self._find(name)
        assert found is not None
        return found
