"""Encoder–decoder of the T5 family: it reads a source text and writes a target text.

As in ``archon.engine.model.decoder``, every sublayer reads the normalised residual stream and adds
its output to the stream. Tokens of the source attend to the whole source. Tokens of the target
attend to the tokens before them, and, by *cross-attention*, to the encoder's output, the *memory*:

    encoder    x ← x + SelfAttention(norm x)          x ← x + FeedForward(norm x)
    decoder    y ← y + CausalSelfAttention(norm y)    y ← y + CrossAttention(norm y, memory)
               y ← y + FeedForward(norm y)

Positions are represented only by a bias of self-attention (``positions``), which all layers of a
stack share. Scores are not divided by √D; the initial weights of the queries are smaller instead.

(Raffel et al. 2020, arXiv 1910.10683.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from archon.engine.encoders.attention import Heads, attend, causal_bias, padding_bias
from archon.engine.encoders.cache import GrowingKeys
from archon.engine.encoders.config import EncoderDecoderConfig
from archon.engine.encoders.positions import RelativePositions


@dataclass(frozen=True, slots=True)
class Memory:
    """Keys and values of an encoded source, which cross-attention reads in every step."""

    keys_and_values: Sequence[tuple[Tensor, Tensor]]
    """Keys and values of each decoder layer, (B, H, S, D). B is 1 if all targets share a source."""
    bias: Tensor
    """(B, 1, 1, S); masks the padding of the source."""


class EncoderDecoder(nn.Module):
    """Encoder–decoder: the two stacks of layers, their shared embedding, and the head."""

    def __init__(self, config: EncoderDecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.encoder_positions = _positions(config, two_sided=True)
        self.decoder_positions = _positions(config, two_sided=False)
        self.encoder = nn.ModuleList(
            T5EncoderLayer(config) for _ in range(config.num_encoder_layers)
        )
        self.decoder = nn.ModuleList(
            T5DecoderLayer(config) for _ in range(config.num_decoder_layers)
        )
        self.encoder_norm, self.decoder_norm = _norm(config), _norm(config)
        self.head = None if config.tied else nn.Linear(config.width, config.vocab_size, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, source_BS: Tensor, is_token_BS: Tensor, target_BT: Tensor) -> Tensor:
        """Compute the next-token logits after each token of the target: (B, T, V).

        Parameters
        ----------
        source_BS, is_token_BS
            Token ids of the source texts; a mask with True for tokens and False for padding.
        target_BT
            The start token, then the target text without its last token.
        """
        memory = self.memory(self.encode(source_BS, is_token_BS), is_token_BS)
        return self.decode(target_BT, memory)

    def encode(self, source_BS: Tensor, is_token_BS: Tensor) -> Tensor:
        """Compute the encoder's output: (B, S, E)."""
        position_S = torch.arange(source_BS.shape[1], device=source_BS.device)
        bias = self.encoder_positions(position_S, position_S) + padding_bias(is_token_BS)
        x_BSE = self.dropout(self.embedding(source_BS))
        for layer in self.encoder:
            x_BSE = layer(x_BSE, bias)
        return self.dropout(self.encoder_norm(x_BSE))

    def memory(self, encoded_BSE: Tensor, is_token_BS: Tensor) -> Memory:
        """Compute the keys and values of the encoder's output for all decoder layers."""
        pairs = [layer.memory(encoded_BSE) for layer in self._decoder_layers()]
        return Memory(pairs, padding_bias(is_token_BS))

    def _decoder_layers(self) -> Iterator[T5DecoderLayer]:
        for layer in self.decoder:
            assert isinstance(layer, T5DecoderLayer)
            yield layer

    def decode(
        self, target_BT: Tensor, memory: Memory, keys: GrowingKeys | None = None, start: int = 0
    ) -> Tensor:
        """Compute the next-token logits after each token of the target: (B, T, V).

        Parameters
        ----------
        keys
            Cache of the first ``start`` tokens; by default an empty one.
        start
            Position of the first token of ``target_BT``.
        """
        keys = keys or GrowingKeys(self.config.num_decoder_layers)
        num_tokens = target_BT.shape[1]
        key_S = torch.arange(start + num_tokens, device=target_BT.device)
        # Of the bias and the causal mask, only the rows of the new tokens are needed.
        bias = self.decoder_positions(key_S[start:], key_S)
        bias = bias + causal_bias(start + num_tokens, target_BT.device)[start:]
        y_BTE = self.dropout(self.embedding(target_BT))
        for index, layer in enumerate(self._decoder_layers()):
            y_BTE = layer(y_BTE, bias, memory, keys, index)
        y_BTE = self.dropout(self.decoder_norm(y_BTE))
        if self.config.scaled:
            y_BTE = y_BTE * self.config.width**-0.5
        return functional.linear(y_BTE, (self.head or self.embedding).weight)


class T5EncoderLayer(nn.Module):
    """Bidirectional self-attention, then a feed-forward network."""

    def __init__(self, config: EncoderDecoderConfig) -> None:
        super().__init__()
        self.attention_norm, self.attention = _norm(config), _heads(config)
        self.ffn_norm, self.ffn = _norm(config), FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BSE: Tensor, bias: Tensor) -> Tensor:
        normed_BSE = self.attention_norm(x_BSE)
        q, (k, v) = self.attention.queries(normed_BSE), self.attention.keys_and_values(normed_BSE)
        x_BSE = x_BSE + self.dropout(self.attention.join(attend(q, k, v, bias)))
        return x_BSE + self.dropout(self.ffn(self.ffn_norm(x_BSE)))


class T5DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention to the memory, then a feed-forward network."""

    def __init__(self, config: EncoderDecoderConfig) -> None:
        super().__init__()
        self.attention_norm, self.attention = _norm(config), _heads(config)
        self.cross_norm, self.cross_attention = _norm(config), _heads(config)
        self.ffn_norm, self.ffn = _norm(config), FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def memory(self, encoded_BSE: Tensor) -> tuple[Tensor, Tensor]:
        """Compute this layer's keys and values of the encoder's output: (B, H, S, D) each."""
        return self.cross_attention.keys_and_values(encoded_BSE)

    def forward(
        self, y_BTE: Tensor, bias: Tensor, memory: Memory, keys: GrowingKeys, index: int
    ) -> Tensor:
        normed_BTE = self.attention_norm(y_BTE)
        k, v = keys.extend(index, *self.attention.keys_and_values(normed_BTE))
        out_BHTD = attend(self.attention.queries(normed_BTE), k, v, bias)
        y_BTE = y_BTE + self.dropout(self.attention.join(out_BHTD))

        q = self.cross_attention.queries(self.cross_norm(y_BTE))
        out_BHTD = attend(q, *memory.keys_and_values[index], memory.bias)
        y_BTE = y_BTE + self.dropout(self.cross_attention.join(out_BHTD))
        return y_BTE + self.dropout(self.ffn(self.ffn_norm(y_BTE)))


class FeedForward(nn.Module):
    """Feed-forward network: down(ReLU(up x)), or down(GELU(gate x) · up x) if it is gated.

    (Shazeer 2020, arXiv 2002.05202.)
    """

    def __init__(self, config: EncoderDecoderConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.width, config.ffn_width, bias=False)
        gate = nn.Linear(config.width, config.ffn_width, bias=False) if config.gated else None
        self.gate = gate
        self.down = nn.Linear(config.ffn_width, config.width, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BTE: Tensor) -> Tensor:
        up_BTF = self.up(x_BTE)
        if self.gate is None:
            return self.down(self.dropout(functional.relu(up_BTF)))
        gate_BTF = functional.gelu(self.gate(x_BTE), approximate="tanh")
        return self.down(self.dropout(gate_BTF * up_BTF))


def initialise(model: EncoderDecoder, seed: int) -> None:
    """Initialise the weights for training, from normal distributions.

    They are scaled so that the outputs of layers have a standard deviation near 1. As in T5, the
    weights of queries are smaller by the factor √D, which replaces the division of scores by √D.
    """
    generator = torch.Generator().manual_seed(seed)
    config = model.config
    inner = config.num_heads * config.head_width
    for name, weight in model.named_parameters():
        part = name.split(".")[-2]
        std = {
            "q": (config.width * config.head_width) ** -0.5,
            "output": inner**-0.5,
            "down": config.ffn_width**-0.5,
            "embedding": 1.0,
        }.get(part, config.width**-0.5)
        if weight.dim() > 1:
            nn.init.normal_(weight, std=std, generator=generator)


def _norm(config: EncoderDecoderConfig) -> nn.RMSNorm:
    return nn.RMSNorm(config.width, eps=config.norm_epsilon)


def _heads(config: EncoderDecoderConfig) -> Heads:
    return Heads(config.width, config.num_heads, config.head_width, bias=False)


def _positions(config: EncoderDecoderConfig, *, two_sided: bool) -> RelativePositions:
    return RelativePositions(
        config.num_buckets, config.max_distance, config.num_heads, two_sided=two_sided
    )
