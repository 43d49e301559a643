"""Encoder of the BERT family: every token attends to the whole text, before and after it.

The vector of a token starts as the sum of three learned embeddings: of the token, of its position,
and of its segment (the first or second text of a pair). Unlike in ``archon.engine.model.decoder``,
each layer normalises the *sum* (post-layer-norm):

    x ← LayerNorm(x + Attention(x))
    x ← LayerNorm(x + FeedForward(x))

(Devlin et al. 2018, arXiv 1810.04805.)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from archon.engine.encoders.attention import Heads, attend, padding_bias
from archon.engine.encoders.config import EncoderConfig


class Encoder(nn.Module):
    """Encoder without a head: token ids → one vector per token."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.width)
        self.positions = nn.Embedding(config.context_length, config.width)
        self.segments = nn.Embedding(config.num_segments, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.layers = nn.ModuleList(BertLayer(config) for _ in range(config.num_layers))
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, ids_BT: Tensor, is_token_BT: Tensor, segment_BT: Tensor | None = None
    ) -> Tensor:
        """Compute the vectors of all tokens: (B, T, E).

        Parameters
        ----------
        is_token_BT
            True for tokens, False for padding, to which no token attends.
        segment_BT
            0 for tokens of the first text, 1 for those of the second; all 0 by default.
        """
        if segment_BT is None:
            segment_BT = torch.zeros_like(ids_BT)
        position_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
        x_BTE = self.tokens(ids_BT) + self.positions(position_T) + self.segments(segment_BT)
        x_BTE = self.dropout(self.norm(x_BTE))
        bias = padding_bias(is_token_BT)
        for layer in self.layers:
            x_BTE = layer(x_BTE, bias)
        return x_BTE


class BertLayer(nn.Module):
    """Bidirectional self-attention, then a GELU feed-forward network; each sum is normalised."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        head_width = config.width // config.num_heads
        self.scale = head_width**-0.5
        self.attention = Heads(config.width, config.num_heads, head_width, bias=True)
        self.attention_norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.up = nn.Linear(config.width, config.ffn_width)
        self.down = nn.Linear(config.ffn_width, config.width)
        self.ffn_norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x_BTE: Tensor, bias: Tensor) -> Tensor:
        q, (k, v) = self.attention.queries(x_BTE), self.attention.keys_and_values(x_BTE)
        out_BTE = self.attention.join(attend(q, k, v, bias, self.scale))
        x_BTE = self.attention_norm(x_BTE + self.dropout(out_BTE))
        out_BTE = self.down(functional.gelu(self.up(x_BTE)))
        return self.ffn_norm(x_BTE + self.dropout(out_BTE))


def initialise_encoder(module: nn.Module, seed: int) -> None:
    """Initialise the weights as BERT does: normally distributed with σ = 0.02, biases 0."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=0.02, generator=generator)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
