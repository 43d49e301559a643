"""Heads of an encoder, which map its vectors to tokens, classes, or one vector per text."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from archon.engine.encoders.encoder import Encoder


class MaskedLanguageModel(nn.Module):
    """Encoder with logits over the vocabulary for every token, for pre-training."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        config = encoder.config
        self.encoder = encoder
        self.dense = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_epsilon)
        self.bias = nn.Embedding(1, config.vocab_size)
        nn.init.zeros_(self.bias.weight)

    def forward(self, ids_BT: Tensor, is_token_BT: Tensor) -> Tensor:
        """Compute logits (B, T, V); the token embedding is also the output matrix."""
        x_BTE = self.norm(functional.gelu(self.dense(self.encoder(ids_BT, is_token_BT))))
        return functional.linear(x_BTE, self.encoder.tokens.weight, self.bias.weight[0])


class TextClassifier(nn.Module):
    """Encoder with logits of the classes of a text or a pair of texts, from the first token.

    With one class it is a *cross-encoder*, which scores how well two texts match. It reads both
    texts together, so each token of one can attend to every token of the other (Nogueira and Cho
    2019, arXiv 1901.04085).
    """

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        super().__init__()
        width = encoder.config.width
        self.encoder = encoder
        self.pooler = nn.Linear(width, width)
        self.classes = nn.Linear(width, num_classes)
        self.dropout = nn.Dropout(encoder.config.dropout)

    def forward(
        self, ids_BT: Tensor, is_token_BT: Tensor, segment_BT: Tensor | None = None
    ) -> Tensor:
        """Compute logits (B, C)."""
        first_BE = self.encoder(ids_BT, is_token_BT, segment_BT)[:, 0]
        return self.classes(self.dropout(self.pooler(first_BE).tanh()))


class WordClassifier(nn.Module):
    """Encoder with logits of the classes of each token."""

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.classes = nn.Linear(encoder.config.width, num_classes)
        self.dropout = nn.Dropout(encoder.config.dropout)

    def forward(self, ids_BT: Tensor, is_token_BT: Tensor) -> Tensor:
        """Compute logits (B, T, C)."""
        return self.classes(self.dropout(self.encoder(ids_BT, is_token_BT)))


def mean_vector(x_BTE: Tensor, is_token_BT: Tensor) -> Tensor:
    """Return the vector of each text: the mean over its tokens, scaled to length 1, (B, E).

    The dot product of two such vectors is their cosine similarity (Reimers and Gurevych 2019, arXiv
    1908.10084).
    """
    weight_BT1 = is_token_BT.unsqueeze(-1).to(x_BTE.dtype)
    mean_BE = (x_BTE * weight_BT1).sum(1) / weight_BT1.sum(1).clamp(min=1)
    return functional.normalize(mean_BE, dim=-1)


def first_vector(x_BTE: Tensor) -> Tensor:
    """Return the vector of each text's first token, scaled to length 1, (B, E).

    Some models are trained to represent a text by this vector instead of the mean.
    """
    return functional.normalize(x_BTE[:, 0], dim=-1)
