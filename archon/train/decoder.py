"""A trainable decoder, which is the engine's transformer with gradients.

``archon.engine.model.decoder`` computes without gradients: it writes keys and values to a cache,
fuses projections, and may store quantized weights. This decoder computes the same function on
complete texts, without a cache. It uses the engine's configuration, family traits, norms and RoPE,
and a test compares the logits of the two implementations.

Parameters have the same names as in Hugging Face's files, so ``state_dict`` is the content of a
model folder. Adapter parameters are named as peft names them.

Shape suffixes: B rows, T tokens of a row, E width, H query heads, G key-value heads, D width of a
head, I width of a projection, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from archon.engine.model.config import DecoderConfig
from archon.engine.model.decoder import rms_norm
from archon.engine.model.families.traits import EMBEDDING, HEAD, OUTPUT_NORM, layer_prefix
from archon.engine.model.rope import RopeAngles, apply_rope, rope_angles, rope_frequencies
from archon.engine.model.weights import LayerWeights, WeightSource, layer_parameters, layer_shapes


class TrainableDecoder(nn.Module):
    """A decoder-only transformer over packed texts.

    Parameters
    ----------
    biased
        Whether the q, k and v projections have biases. By default, they have biases only if the
        family always does.
    tied
        Whether the head shares its weight with the embedding.
    """

    def __init__(self, config: DecoderConfig, *, biased: bool | None = None, tied: bool) -> None:
        super().__init__()
        self.config, self.tied = config, tied
        self.biased = config.traits.always_biased if biased is None else biased
        self.checkpoints = False
        """Whether to use gradient checkpointing. The backward pass then recomputes the activations
        of each layer instead of storing them, which saves memory and takes about a third more time
        (Chen et al. 2016, arXiv 1604.06174)."""
        self.model = _Body(config, self.biased)
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
        T = token_BT.shape[1]
        earlier_TT = torch.ones(T, T, dtype=torch.bool, device=token_BT.device).tril()
        visible_BTT = (text_BT[:, :, None] == text_BT[:, None, :]) | (text_BT[:, None, :] == 0)
        mask_B1TT = (visible_BTT & earlier_TT)[:, None]
        x_BTE = model.embed_tokens(token_BT)
        x_BTE = x_BTE if x_BTE.dtype == torch.float64 else x_BTE.float()
        frequencies = rope_frequencies(self.config, token_BT.device, x_BTE.dtype)
        cos, sin = rope_angles(position_BT.flatten(), frequencies)
        shape = (*token_BT.shape, 1, -1)
        angles = (cos.to(x_BTE.dtype).view(shape), sin.to(x_BTE.dtype).view(shape))
        for layer in model.layers:
            if self.checkpoints and torch.is_grad_enabled():
                x_BTE = checkpoint(layer, x_BTE, angles, mask_B1TT, use_reentrant=False)
            else:
                x_BTE = layer(x_BTE, angles, mask_B1TT)
        return model.norm(x_BTE)

    def logits(self, hidden: Tensor) -> Tensor:
        """Compute logits: (…, E) → (…, V).

        The head is the largest matrix product, so pass only the tokens whose logits are needed.
        """
        return self.lm_head(hidden)


class _Body(nn.Module):
    def __init__(self, config: DecoderConfig, biased: bool) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.width)
        self.layers = nn.ModuleList(
            _TrainableLayer(config, biased) for _ in range(config.num_layers)
        )
        self.norm = _Norm(config.width, config.norm_epsilon)


class _TrainableLayer(nn.Module):
    """Masked grouped-query self-attention, then a SwiGLU feed-forward network."""

    def __init__(self, config: DecoderConfig, biased: bool) -> None:
        super().__init__()
        self.config = config
        self._add_norm("attention_norm_E")
        self.self_attn = _Attention(config, biased)
        self._add_norm("attention_post_norm_E")
        self._add_norm("ffn_norm_E")
        self.mlp = _FeedForward(config)
        self._add_norm("ffn_post_norm_E")

    def _add_norm(self, field: str) -> None:
        """Add the norm for a field of ``LayerWeights``, if the family uses this norm."""
        name = self.config.traits.norms.get(field)
        if name is not None:
            norm = _Norm(self.config.width, self.config.norm_epsilon)
            self.add_module(name.hf.removesuffix(".weight"), norm)

    def _normalised(self, field: str, x_BTE: Tensor) -> Tensor:
        name = self.config.traits.norms.get(field)
        return x_BTE if name is None else self.get_submodule(name.hf.removesuffix(".weight"))(x_BTE)

    def forward(self, x_BTE: Tensor, angles: RopeAngles, mask_B1TT: Tensor) -> Tensor:
        normed_BTE = self._normalised("attention_norm_E", x_BTE)
        out_BTE = self.self_attn(normed_BTE, angles, mask_B1TT)
        x_BTE = x_BTE + self._normalised("attention_post_norm_E", out_BTE)
        out_BTE = self.mlp(self._normalised("ffn_norm_E", x_BTE))
        return x_BTE + self._normalised("ffn_post_norm_E", out_BTE)


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
        self.qk_norm = c.traits.qk_norm
        if self.qk_norm != "none":
            [q_size], [k_size] = (layer_shapes(c)[field] for field in ("q_norm", "k_norm"))
            self.q_norm = _Norm(q_size, c.norm_epsilon)
            self.k_norm = _Norm(k_size, c.norm_epsilon)

    def forward(self, x_BTE: Tensor, angles: RopeAngles, mask_B1TT: Tensor) -> Tensor:
        D, dtype = self.config.head_width, x_BTE.dtype
        q_BTI, k_BTI, v_BTI = self.q_proj(x_BTE), self.k_proj(x_BTE), self.v_proj(x_BTE)
        if self.qk_norm == "projection":
            q_BTI, k_BTI = self.q_norm(q_BTI), self.k_norm(k_BTI)
        q_BTHD, k_BTGD, v_BTGD = (x.unflatten(-1, (-1, D)) for x in (q_BTI, k_BTI, v_BTI))
        if self.qk_norm == "head":
            q_BTHD, k_BTGD = self.q_norm(q_BTHD), self.k_norm(k_BTGD)
        q_BTHD, k_BTGD = apply_rope(q_BTHD, angles), apply_rope(k_BTGD, angles)
        q_BHTD, k_BGTD, v_BGTD = (x.to(dtype).transpose(1, 2) for x in (q_BTHD, k_BTGD, v_BTGD))
        out_BHTD = functional.scaled_dot_product_attention(
            q_BHTD, k_BGTD, v_BGTD, attn_mask=mask_B1TT, enable_gqa=True
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
    """Return a float32 decoder with the parameters of a source, such as a file or a folder."""
    embedding, head = source.embedding(), source.head()
    layers = dict(layer_parameters(source))
    model = TrainableDecoder(
        source.config,
        biased=f"{layer_prefix(0)}self_attn.q_proj.bias" in layers,
        tied=torch.equal(embedding, head),
    )
    outer = {EMBEDDING.hf: embedding, OUTPUT_NORM.hf: source.output_norm(), HEAD.hf: head}
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
        return self._get(OUTPUT_NORM.hf)

    def layer(self, index: int) -> LayerWeights:
        prefix, tensors = layer_prefix(index), self.config.traits.layer_tensors
        found: dict[str, Any] = {f: self._find(prefix + name.hf) for f, name in tensors.items()}
        return LayerWeights(**found)

    def _find(self, name: str) -> Tensor | None:
        """Return a parameter by its name, or None for a bias that the model does not have."""
        module, _, attribute = name.rpartition(".")
        found: Tensor | None = getattr(self.model.get_submodule(module), attribute)
        return None if found is None else found.detach().float()

    def _get(self, name: str) -> Tensor:
        found = self._find(name)
        assert found is not None
        return found
