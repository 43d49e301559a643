"""Sentence encoders, which map texts to vectors whose dot products measure semantic similarity.

Model folders have the sentence-transformers format: ``modules.json`` lists the encoder and the
modules that follow it, each with its folder. Without this file, a text's vector is the mean of the
encoder's output over its tokens.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer
from torch import Tensor

from archon.engine.encoders.encoder import Encoder
from archon.engine.encoders.heads import first_vector, mean_vector
from archon.engine.encoders.weights import load_encoder
from archon.engine.files.folder import ModelFolder
from archon.engine.process import claim_process
from archon.errors import ModelFileError
from archon.lm.compute import report_scored
from archon.lm.embedding import EmbeddingLM, Vector
from archon.lm.local.card_loading import pull_folder
from archon.lm.local.compute import encoder_compute
from archon.lm.local.encoder_tokenizer import encoder_tokenizer, padded
from archon.spec.messages import shown
from archon.spec.model import LocalCard
from archon.weights.model_files import POOLING_FILES

Pooling = Literal["mean", "cls"]
"""How a text's vector is computed: the mean over its tokens, or the vector of its first token."""

_MODULES, _PROMPTS, _POOLING = POOLING_FILES
_SUPPORTED = ("Transformer", "Pooling", "Normalize")
# Vectors are normalized afterwards, so multiples of the mean are equivalent to the mean.
_MODES: dict[str, Pooling] = {
    "mean": "mean", "mean_tokens": "mean", "mean_sqrt_len_tokens": "mean", "cls": "cls",
    "cls_token": "cls",
}  # fmt: skip


def load(card: LocalCard, base_dir: Path) -> EmbeddingLM:
    """Load a card's sentence encoder; download its weights if necessary.

    Raises
    ------
    ModelError
        The weights are unavailable.
    ModelFileError
        The weights cannot be run.
    """
    _, file = pull_folder(card, base_dir, "a sentence encoder")
    return EmbeddingLM(SentenceEncoder.of(file), card.name)


class SentenceEncoder:
    """An encoder, with a tokenizer and pooling, that turns texts into vectors."""

    def __init__(self, encoder: Encoder, tokenizer: Tokenizer, pooling: Pooling = "mean") -> None:
        self._encoder, self._tokenizer, self._pooling = encoder, tokenizer, pooling

    @classmethod
    def of(cls, folder: ModelFolder) -> SentenceEncoder:
        """Load the sentence encoder from a model folder.

        Raises
        ------
        ModelFileError
            The folder contains a different type of model, or the model is damaged.
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
        """Return the unit vectors of the texts, shape (B, E).

        Texts that exceed the context are truncated.
        """
        encodings = self._tokenizer.encode_batch(list(texts))
        for encoding in encodings:
            num_tokens = len(encoding.ids)
            compute = encoder_compute(self._encoder.config, num_tokens)
            report_scored(num_tokens, compute, is_truncated=bool(encoding.overflowing))
        batch = padded(encodings)
        hidden_BTE = self._encoder(batch.ids_BT, batch.is_token_BT, batch.segment_BT)
        if self._pooling == "cls":
            return first_vector(hidden_BTE)
        return mean_vector(hidden_BTE, batch.is_token_BT)


# ------------------------------------------------------------------------------------ pooling


def pooling_of(folder: ModelFolder) -> Pooling:
    """Read the pooling of a sentence encoder from its folder.

    Raises
    ------
    ModelFileError
        A file is damaged or has an unsupported setting, such as a different type of pooling, an
        additional layer, or a prompt before every text.
    """
    prompts = folder.json(_PROMPTS) or {}
    if prompts.get("default_prompt_name") is not None:
        name = shown(prompts["default_prompt_name"])
        reason = f"default_prompt_name must be null, not {name}: prompts are not supported"
        raise ModelFileError(f"{folder.path / _PROMPTS}: {reason}")
    config_path = _POOLING
    for kind, path in _modules(folder):
        if kind not in _SUPPORTED:
            supported = ", ".join(_SUPPORTED)
            reason = f"a module of type {shown(kind)} is not supported; supported: {supported}"
            raise ModelFileError(f"{folder.path / _MODULES}: {reason}")
        if kind == "Pooling":
            if Path(path).name != path:  # another path could lead out of the model's folder
                reason = f"a module's path must be the name of a folder, not {shown(path)}"
                raise ModelFileError(f"{folder.path / _MODULES}: {reason}")
            config_path = f"{path}/config.json"
    return _mode(folder, config_path)


def _modules(folder: ModelFolder) -> list[tuple[str, str]]:
    """Return the type and folder of each module in ``modules.json``, or [] without this file."""
    content = folder.text(_MODULES)
    if content is None:
        return []
    try:
        modules = json.loads(content)
        return [(module["type"].rpartition(".")[2], str(module["path"])) for module in modules]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        reason = "must be a list of objects with 'type' and 'path'"
        raise ModelFileError(f"{folder.path / _MODULES}: {reason}") from None


def _mode(folder: ModelFolder, config_path: str) -> Pooling:
    config: dict[str, Any] = folder.json(config_path) or {}
    stated = config.get("pooling_mode")
    modes = [stated] if isinstance(stated, str) else list(stated or ())
    start = "pooling_mode_"
    modes += [key.removeprefix(start) for key, on in config.items() if on is True and start in key]
    if not modes:
        return "mean"
    if len(modes) == 1 and modes[0] in _MODES:
        return _MODES[modes[0]]
    listed = " and ".join(map(shown, modes))
    raise ModelFileError(f"{folder.path / config_path}: pooling by {listed} is not supported")
