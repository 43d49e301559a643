"""Pretraining: a decoder of random weights learns a vocabulary and texts, from nothing."""

from __future__ import annotations

from pathlib import Path

from archon.engine.files.folder import ModelFolder
from archon.engine.model.config import DecoderConfig
from archon.lm.local.tokenizer import TextTokenizer
from archon.lm.local.tokenizer.folder import tokenizer_config_of_folder
from archon.spec.training import PretrainSpec
from archon.train.base_model import Card
from archon.train.bpe import END_ID, learn_vocabulary, save_vocabulary
from archon.train.decoder import TrainableDecoder, initialise
from archon.train.folder import MODEL
from archon.train.model_folder import save_decoder
from archon.train.objectives.next_token import NextToken, card_of, corpus, report
from archon.train.sft_data import plain_texts, whole_text
from archon.train.trainer import Start

__all__ = ["open_objective", "report"]


def open_objective(spec: PretrainSpec, start: Start) -> NextToken:
    """Learn a vocabulary, and make a model of random weights.

    Raises
    ------
    SpecError
        The data is missing or malformed.
    ModelFileError
        The decoder cannot have such a shape.
    """
    texts = list(plain_texts(spec.data, start.base_dir))
    path = start.folder.path / MODEL
    save_vocabulary(learn_vocabulary(texts, spec.decoder.vocabulary), path)
    shape = spec.decoder
    config = DecoderConfig(
        family=shape.family,
        num_layers=shape.num_layers,
        width=shape.width,
        ffn_width=shape.ffn_width,
        num_heads=shape.num_heads,
        num_kv_heads=shape.num_kv_heads,
        head_width=shape.width // shape.num_heads,
        vocab_size=shape.vocabulary,
        context_length=max(shape.context_length, spec.context),
    )
    model = TrainableDecoder(config, tied=True)
    initialise(model, spec.seed)
    save_decoder(model, path)
    tokenizer = TextTokenizer(tokenizer_config_of_folder(ModelFolder(path)))

    def save(folder: Path) -> Card:
        save_decoder(model, folder / MODEL)
        return card_of(spec, MODEL) | {"precision": "float32"}

    found = [whole_text(text, tokenizer, END_ID) for text in texts]
    learned = corpus(spec, found, model, tokenizer, END_ID, save)
    return NextToken(spec, learned, start.folder, start.device)
