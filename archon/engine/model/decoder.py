"""Transformer decoder (Vaswani et al. 2017, arXiv 1706.03762) for all supported families.

Each token has a vector, the *residual stream*. A layer has two *sublayers*, attention and a
feed-forward network, which read the normalised stream and add their output to it:

    x ← x + Attention(RMSNorm(x))
    x ← x + FeedForward(RMSNorm(x))

Some families normalise the output of a sublayer, instead or as well: x ← x + RMSNorm(Attention(x)).
Layers may differ (``LayerConfig``): in their rotary embedding, their window of attention, and the
kind of their feed-forward network. The normalised output of the last layer times the head, a matrix
(V, E), gives the logits: one number for each token of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from archon.engine.cache.kv_cache import KVCache, bytes_per_block
from archon.engine.model.attention import Scores, attend
from archon.engine.model.config import DecoderConfig
from archon.engine.model.feed_forward import FeedForward, MixtureOfExperts
from archon.engine.model.hadamard import HadamardRotation
from archon.engine.model.linear import Linear, layer_precision, make_linear
from archon.engine.model.lora import Adapter, LowRank, head_change, layer_changes
from archon.engine.model.precision import Precision
from archon.engine.model.rope import Rope, RopeAngles, RopeTable, apply_rope
from archon.engine.model.step_input import StepInput, build_step
from archon.engine.model.weights import LayerWeights, WeightSource
from archon.engine.sampling.sampler import sample
from archon.engine.span import Span


class Decoder:
    """A decoder-only transformer: embedding, layers, final norm, head.

    Parameters
    ----------
    source
        The parameters.
    precision
        Precision of the linear layers, the head included (``archon.engine.model.linear``).
    rotation
        Rotation of the inputs of sublayers and of the head, if the weights expect it
        (``archon.engine.model.outlier_rotation``).
    """

    def __init__(
        self,
        source: WeightSource,
        precision: Precision,
        device: torch.device,
        rotation: HadamardRotation | None = None,
    ) -> None:
        self.config, self.precision, self.device = source.config, precision, device
        self.rotation = None if rotation is None else rotation.to(device)
        self.embedding_VE = source.embedding().to(device, self.cache_dtype)
        self.layers = [
            DecoderLayer(source.layer(index), self.config, index, precision, device, self._rotated)
            for index in range(self.config.num_layers)
        ]
        self.norm_E = source.output_norm().to(device)
        # A tied head is the embedding, except in int8 and int4: one copy of V × E weights.
        shares = source.is_tied and precision in ("float32", "bf16", "native")
        head_VE = self.embedding_VE if shares else source.head()
        self.head = make_linear(head_VE, None, layer_precision("head", precision), device)
        self.adapters: dict[str, LowRank | None] = {}
        """Digest of each adapter → its change to the head, or None if it has none."""
        self.ropes = {rope: RopeTable(rope, device) for rope in self.config.ropes}

    sample = staticmethod(sample)

    @property
    def cache_dtype(self) -> torch.dtype:
        """Number type of the cached keys and values."""
        return torch.float32 if self.precision == "float32" else torch.bfloat16

    @property
    def bytes_per_block(self) -> int:
        """Bytes of one cache block."""
        return bytes_per_block(self.config, self.cache_dtype)

    def new_cache(self, num_blocks: int) -> KVCache:
        """Return an empty cache."""
        return KVCache(self.config, num_blocks, self.cache_dtype, self.device)

    def add_adapter(self, adapter: Adapter) -> None:
        """Add an adapter, whose parameters are in the basis of the decoder's weights."""
        for index, layer in enumerate(self.layers):
            layer.adapters[adapter.digest] = {
                name: part.to(self.device)
                for name, part in layer_changes(adapter, index, self.config).items()
            }
        head = head_change(adapter)
        self.adapters[adapter.digest] = None if head is None else head.to(self.device)

    def drop_adapter(self, digest: str) -> None:
        """Remove the adapter with this digest."""
        del self.adapters[digest]
        for layer in self.layers:
            del layer.adapters[digest]

    @torch.inference_mode()
    def __call__(self, spans: Sequence[Span], cache: KVCache) -> Tensor:
        """Run one step (``archon.engine.decoder_protocol``)."""
        step = build_step(spans, self.device, self.cache_dtype, self.config.cache_layout)
        x_NE = self._stream(step, cache)
        stops = accumulate(len(span.token_ids) for span in spans)
        for span, stop in zip(spans, stops, strict=True):
            if span.hidden_E is not None:
                span.hidden_E.copy_(self._normalised(x_NE[stop - 1]))
        return self._logits(step, x_NE)

    @torch.inference_mode()
    def compute(self, step: StepInput, cache: KVCache) -> Tensor:
        """Run one step from prebuilt tensors; return its logits, but no hidden states."""
        return self._logits(step, self._stream(step, cache))

    def _stream(self, step: StepInput, cache: KVCache) -> Tensor:
        """Return the residual stream after the last layer: (N, E)."""
        x_NE = self.embedding_VE[step.token_N].float()
        if self.config.embedding_scale != 1:
            x_NE = x_NE * self.config.embedding_scale
        angles: dict[Rope | None, RopeAngles | None] = {None: None}
        for rope, table in self.ropes.items():
            angles[rope] = table.angles(step.position_N, step.is_long_N)
        for layer in self.layers:
            x_NE = layer(x_NE, angles[layer.own.rope], step, cache)
        return x_NE

    def _normalised(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.norm_E, self.config.norm_epsilon)

    def _rotated(self, x_NE: Tensor) -> Tensor:
        return x_NE if self.rotation is None else self.rotation.inputs(x_NE)

    def _logits(self, step: StepInput, x_NE: Tensor) -> Tensor:
        x_NE = self._rotated(self._normalised(x_NE[step.logit_rows]))
        logits_NV = self.head(x_NE)
        for digest, rows in step.adapted:
            change, is_adapted = self.adapters[digest], torch.isin(step.logit_rows, rows)
            if change is not None:
                logits_NV[is_adapted] += change(x_NE[is_adapted])
        return final_logits(logits_NV, self.config)


_NORMS = ("attention_norm_E", "attention_post_norm_E", "ffn_norm_E", "ffn_post_norm_E")


class DecoderLayer:
    """Causal grouped-query self-attention, then a feed-forward network."""

    def __init__(
        self,
        w: LayerWeights,
        config: DecoderConfig,
        index: int,
        precision: Precision,
        device: torch.device,
        rotated: Callable[[Tensor], Tensor],
    ) -> None:
        self.rotated = rotated
        self.config, self.own = config, config.layers[index]
        self.place = config.cache_layout.places[index]
        self.scores = Scores(config.attention_scale, config.attention_softcap)
        norms = {field: getattr(w, field) for field in _NORMS}
        self.norms = {field: None if x is None else x.to(device) for field, x in norms.items()}
        qk_norm_HD = self._qk_norm(w)
        self.qk_norm_HD = None if qk_norm_HD is None else qk_norm_HD.to(device)

        def linear(name: str, *weights: Tensor, bias: Tensor | None = None) -> Linear:
            return make_linear(torch.cat(weights), bias, layer_precision(name, precision), device)

        # Products that read the same input are computed as one.
        biases = [b for b in (w.q_bias, w.k_bias, w.v_bias) if b is not None]
        self.qkv = linear("qkv", w.q, w.k, w.v, bias=torch.cat(biases) if biases else None)
        self.attention_output = linear("output", w.attention_output, bias=w.output_bias)
        self.feed_forward = self._feed_forward(w, precision, device)
        self.adapters: dict[str, dict[str, LowRank]] = {}
        """Digest of each adapter → its changes to the products of this layer, by name."""

    def _feed_forward(
        self, w: LayerWeights, precision: Precision, device: torch.device
    ) -> FeedForward | MixtureOfExperts:
        activation, experts = self.config.traits.activation, self.config.experts
        if experts is not None and w.experts is not None:
            return MixtureOfExperts(w, experts, activation, precision, device)
        assert w.network is not None
        biases = (w.gate_bias, w.up_bias, w.down_bias)
        return FeedForward(w.network, activation, precision, device, biases)

    def _qk_norm(self, w: LayerWeights) -> Tensor | None:
        """Return the norm weights of all heads of q, then of k: (H + G, D); None without norms."""
        if w.q_norm is None or w.k_norm is None:
            return None
        c = self.config
        q_HD = w.q_norm.view(-1, c.head_width).expand(c.num_heads, -1)
        return torch.cat([q_HD, w.k_norm.view(-1, c.head_width).expand(c.num_kv_heads, -1)])

    def __call__(
        self, x_NE: Tensor, angles: RopeAngles | None, step: StepInput, cache: KVCache
    ) -> Tensor:
        normed_NE = self.rotated(self._normalised("attention_norm_E", x_NE))
        out_NE = self._attention(normed_NE, angles, step, cache)
        x_NE = x_NE + self._scaled(self._normalised("attention_post_norm_E", out_NE))
        normed_NE = self.rotated(self._normalised("ffn_norm_E", x_NE))
        out_NE = self.feed_forward(normed_NE, step, self._product)
        return x_NE + self._scaled(self._normalised("ffn_post_norm_E", out_NE))

    def _scaled(self, out_NE: Tensor) -> Tensor:
        scale = self.config.residual_scale
        return out_NE if scale == 1 else out_NE * scale

    def _normalised(self, norm: str, x_NE: Tensor) -> Tensor:
        """Apply the norm ``norm``; return the input unchanged if the family does not have it."""
        weight_E = self.norms[norm]
        return x_NE if weight_E is None else rms_norm(x_NE, weight_E, self.config.norm_epsilon)

    def _product(self, name: str, linear: Linear, x_NI: Tensor, step: StepInput) -> Tensor:
        """Apply a linear layer, and each adapter's change to the tokens of its requests."""
        y_NO = linear(x_NI)
        for digest, rows in step.adapted:
            change = self.adapters[digest].get(name)
            if change is not None:
                y_NO[rows] += change(x_NI[rows])
        return y_NO

    def _attention(
        self, x_NE: Tensor, angles: RopeAngles | None, step: StepInput, cache: KVCache
    ) -> Tensor:
        H, G, D = self.config.num_heads, self.config.num_kv_heads, self.config.head_width
        qkv_NHD = self._product("qkv", self.qkv, x_NE, step).view(-1, H + 2 * G, D)
        qk_NHD = self._normalised_qk(qkv_NHD[:, : H + G])
        if angles is not None:
            qk_NHD = apply_rope(qk_NHD, angles)
        q_NHD, k_NGD, v_NGD = qk_NHD[:, :H], qk_NHD[:, H:], qkv_NHD[:, H + G :]
        group, place = step.groups[self.place.group], self.place
        cache.write(place.row, group.slot_SN[place.member], k_NGD, v_NGD)
        out_NHD = attend(q_NHD, k_NGD, v_NGD, cache, place, group.plan, self.scores)
        return self._product("output", self.attention_output, out_NHD.flatten(1), step)

    def _normalised_qk(self, qk_NHD: Tensor) -> Tensor:
        """Normalise queries and keys, H + G heads, as the family requires."""
        if self.qk_norm_HD is None:
            return qk_NHD
        if self.config.traits.qk_norm == "head":
            return rms_norm(qk_NHD, self.qk_norm_HD, self.config.norm_epsilon)
        sizes = [self.config.num_heads, self.config.num_kv_heads]
        parts = zip(qk_NHD.split(sizes, dim=1), self.qk_norm_HD.split(sizes), strict=True)
        return torch.cat(
            [
                rms_norm(x.flatten(1), weight.flatten(), self.config.norm_epsilon).view_as(x)
                for x, weight in parts
            ],
            dim=1,
        )


def final_logits(logits: Tensor, config: DecoderConfig) -> Tensor:
    """Scale and bound the products with the head, as the model requires."""
    if config.logit_scale != 1:
        logits = logits * config.logit_scale
    if config.logit_softcap:
        logits = config.logit_softcap * torch.tanh(logits / config.logit_softcap)
    return logits


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """RMSNorm over the last dimension: x / √(mean(x²) + ε) · weight.

    (Zhang & Sennrich 2019, arXiv 1910.07467.)
    """
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon) * weight
