"""Compute of local models, from the exact shapes of their weights."""

from __future__ import annotations

from collections import Counter

from archon.engine.encoders.config import EncoderConfig, EncoderDecoderConfig
from archon.engine.model.decoder_config import DecoderConfig, LayerConfig
from archon.lm.compute import AttentionLayers, DecoderCompute, EncoderDecoderCompute


def decoder_compute(config: DecoderConfig) -> DecoderCompute:
    """Return what a decoder computes for each token. Of a mixture, only active experts count."""
    width = config.num_heads * config.head_width
    windows = Counter(layer.window for layer in config.layers)
    return DecoderCompute(
        sum(_layer_parameters(config, layer) for layer in config.layers),
        config.width * config.vocab_size,
        tuple(AttentionLayers(count, width, window) for window, count in windows.items()),
    )


def _layer_parameters(config: DecoderConfig, layer: LayerConfig) -> int:
    """Return the weights of a layer that multiply each token."""
    heads = 2 * (config.num_heads + config.num_kv_heads)  # q and output; k and v
    attention = heads * config.head_width * config.width
    experts = config.experts
    if not layer.is_sparse or experts is None:
        return attention + 3 * config.width * config.ffn_width
    router = experts.num_experts + (1 if experts.shared_width else 0)
    networks = 3 * (experts.num_used * experts.width + experts.shared_width)
    return attention + config.width * (router + networks)


def encoder_compute(config: EncoderConfig, num_tokens: int) -> int:
    """Return the compute, in FLOPs, of a text of an encoder, all of whose tokens attend to all."""
    layer = 4 * config.width**2 + 2 * config.width * config.ffn_width
    attention = 4 * config.width * num_tokens
    return config.num_layers * num_tokens * (2 * layer + attention)


def encoder_decoder_compute(config: EncoderDecoderConfig) -> EncoderDecoderCompute:
    """Return what an encoder–decoder computes for each token."""
    width = config.num_heads * config.head_width
    products = 4 * config.width * width
    network = (3 if config.gated else 2) * config.width * config.ffn_width
    cross = 2 * config.width * width  # q and output; k and v multiply the encoder's output
    head = config.width * config.vocab_size
    return EncoderDecoderCompute(
        config.num_encoder_layers * (products + network) + config.num_decoder_layers * cross,
        config.num_decoder_layers * (products + cross + network) + head,
        config.num_encoder_layers,
        config.num_decoder_layers,
        width,
    )
