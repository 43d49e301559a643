"""Pretraining: learn a vocabulary from texts, and train a decoder from random weights."""

from __future__ import annotations

from pathlib import Path

from archon.engine.files.folder import ModelFolder
from archon.engine.model.config import DecoderConfig
from archon.lm.local.tokenizer import TextTokenizer
from archon.lm.local.tokenizer.folder import tokenizer_config_of_folder
from archon.spec.training import PretrainSpec
from archon.train.bpe import END_ID, learn_vocabulary, save_vocabulary
from archon.train.decoder import TrainableDecoder, initialise
from archon.train.folder import MODEL, Card
from archon.train.model_folder import save_decoder
from archon.train.objectives.next_token import NextToken, build_corpus, report, text_model_card
from archon.train.sft_data import plain_texts, tokenize_plain_text
from archon.train.trainer import Start

__all__ = ["open_objective", "report"]


def open_objective(spec: PretrainSpec, start: Start) -> NextToken:
    """Read the texts, learn a vocabulary, and create a model with random weights.

    Raises
    ------
    SpecError
        The data is missing or malformed.
    ModelFileError
        The configuration has an invalid decoder shape.
    """
    texts = list(plain_texts(spec.data, start.base_dir))
    path, shape = start.folder.path / MODEL, spec.decoder
    save_vocabulary(learn_vocabulary(texts, shape.vocabulary), path)
    config = DecoderConfig(
        **shape.model_dump(exclude={"vocabulary", "context_length"}),
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
        return text_model_card(spec) | {"precision": "float32"}

    found = [tokenize_plain_text(text, tokenizer, END_ID) for text in texts]
    corpus = build_corpus(spec, found, model, tokenizer, END_ID, save)
    return NextToken(spec, corpus, start.folder, start.device)
