"""A sentence encoder: texts → vectors whose products tell how alike their meanings are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from archon.engine.encoders.encoder import Encoder
from archon.engine.encoders.heads import first_vector, mean_vector
from archon.engine.encoders.weights import load_encoder
from archon.engine.files.folder import ModelFolder
from archon.engine.process import claim_process
from archon.lm.embedding import EmbeddingLM, Vector
from archon.lm.local.encoder_text import encoder_tokenizer, padded
from archon.lm.local.folders import pulled_folder
from archon.lm.local.pooling import Pooling, pooling_of
from archon.spec.model import LocalCard


def load(card: LocalCard, base_dir: Path) -> EmbeddingLM:
    """Fetch the card's weights where they are not here yet, and load them.

    Raises
    ------
    ModelError : the weights cannot be had.
    ModelFileError : they cannot be run.
    """
    _, file = pulled_folder(card, base_dir, "a sentence encoder")
    return EmbeddingLM(SentenceEncoder.of(file), card.name)


class SentenceEncoder:
    """An encoder, its tokenizer, and how its tokens become one vector."""

    def __init__(self, encoder: Encoder, tokenizer: Tokenizer, pooling: Pooling = "mean") -> None:
        self._encoder, self._tokenizer, self._pooling = encoder, tokenizer, pooling

    @classmethod
    def of(cls, folder: ModelFolder) -> SentenceEncoder:
        """The one that lies in a folder.

        Raises
        ------
        ModelFileError : the folder holds another model, or a damaged one.
        """
        encoder = load_encoder(folder)
        tokenizer = encoder_tokenizer(folder, encoder.config.context_length)
        return cls(encoder, tokenizer, pooling_of(folder))

    async def embed(self, texts: Sequence[str]) -> list[Vector]:
        """See ``archon.lm.embedding.Embedder``."""
        if not texts:
            return []
        claim_process()
        vectors_BE = await asyncio.to_thread(self.vectors, texts)
        return list(vectors_BE.tolist())

    @torch.inference_mode()
    def vectors(self, texts: Sequence[str]) -> Tensor:
        """(B, E), each of length 1; what is longer than the context is cut at its end."""
        batch = padded(self._tokenizer.encode_batch(list(texts)))
        hidden_BTE = self._encoder(batch.ids_BT, batch.is_token_BT, batch.segment_BT)
        if self._pooling == "cls":
            return first_vector(hidden_BTE)
        return mean_vector(hidden_BTE, batch.is_token_BT)
