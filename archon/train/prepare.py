"""What a configuration asks for, made ready: model, texts, and how the result is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch

from archon.engine.adapter import write_adapter
from archon.engine.config import DecoderConfig
from archon.engine.files.folder import ModelFolder
from archon.engine.loading import open_model
from archon.engine.weights import weights_of
from archon.errors import SpecError, UsageError
from archon.lm.local.chat import ChatFormat
from archon.lm.local.text import text_rules
from archon.lm.local.text_folder import text_rules_of_folder
from archon.lm.local.tokenizer import TextTokenizer
from archon.spec.model import LocalCard, PathSource
from archon.spec.training import PretrainSpec, SFTSpec
from archon.train.decoder import TrainableDecoder, decoder_of, initialise
from archon.train.folder import ADAPTER, MODEL
from archon.train.lora import adapter_of, add_adapter, round_frozen
from archon.train.model_folder import copy_text_files, save_decoder, save_text_rules
from archon.train.packing import fits
from archon.train.texts import Text, answer_text, dialogues, plain_texts, whole_text
from archon.train.vocabulary import END_ID, learn_vocabulary, save_vocabulary
from archon.weights import pull

Card = dict[str, Any]


@dataclass(frozen=True)
class Prepared:
    """Everything that a training starts from."""

    model: TrainableDecoder
    texts: list[Text]
    held_out: list[Text]
    num_too_long: int
    """Texts that are left out, as they do not fit a row."""
    tokenizer: TextTokenizer
    end: int
    """The token that ends a text."""
    save: Callable[[Path], Card]
    """Writes what was trained into a folder, and returns the card that runs it."""


def prepare_pretraining(spec: PretrainSpec, base_dir: Path, folder: Path) -> Prepared:
    """Learn a vocabulary, and make a model of random weights.

    Raises
    ------
    SpecError : the data is missing or of another form.
    ModelFileError : the decoder cannot have such a shape.
    """
    texts = list(plain_texts(spec.data, base_dir))
    path = folder / MODEL
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
    tokenizer = TextTokenizer(text_rules_of_folder(ModelFolder(path)))

    def save(folder: Path) -> Card:
        save_decoder(model, folder / MODEL)
        return _card(spec, MODEL) | {"precision": "float32"}

    found = [whole_text(text, tokenizer, END_ID) for text in texts]
    return _prepared(spec, found, model, tokenizer, END_ID, save)


def prepare_fine_tuning(spec: SFTSpec, card: LocalCard, base_dir: Path, card_dir: Path) -> Prepared:
    """Load a card's model, and choose what of it is trained.

    Parameters
    ----------
    base_dir, card_dir : where relative paths in the configuration and in the card start.

    Raises
    ------
    SpecError : the data is missing or of another form.
    ModelError : the weights cannot be had or run.
    UsageError : the model is none that writes, or has no such layers.
    """
    if card.transformer != "decoder" or card.adapter is not None:
        raise UsageError(f"{card.name} is no plain decoder, which alone can be fine-tuned")
    path = pull(card, card_dir)
    file = open_model(path)
    rules = text_rules(file)
    tokenizer = TextTokenizer(rules)
    if rules.eos not in rules.special_ids:
        raise UsageError(f"{path}: does not say which token ends an answer")
    chat, end = ChatFormat(rules, tokenizer), rules.special_ids[rules.eos]
    found = [answer_text(d, chat, tokenizer, end) for d in dialogues(spec.data, base_dir)]
    model = decoder_of(weights_of(file))
    _choose(model, spec)

    def save(folder: Path) -> Card:
        if spec.lora is not None:
            dropout = spec.lora.dropout
            write_adapter(adapter_of(model), folder / ADAPTER, base=card.name, dropout=dropout)
            return base_card(card, card_dir) | {
                "name": spec.name, "description": spec.description, "adapter": f"./{ADAPTER}",
            }  # fmt: skip
        dtype = torch.bfloat16 if spec.dtype == "bf16" else torch.float32
        save_decoder(model, folder / MODEL, dtype)
        if isinstance(file, ModelFolder):
            copy_text_files(file, folder / MODEL)
        else:
            save_text_rules(rules, folder / MODEL)
        kept = card.model_dump(mode="json", exclude_none=True, include={"sampling", "license"})
        return _card(spec, MODEL) | kept | {"precision": card.precision}

    return _prepared(spec, found, model, tokenizer, end, save)


def _choose(model: TrainableDecoder, spec: SFTSpec) -> None:
    """Freeze what is not trained; with bf16 products, what is frozen is kept in bf16."""
    if spec.lora is not None:
        lora = spec.lora
        add_adapter(model, lora.targets, lora.rank, lora.alpha, lora.dropout, spec.seed)
    elif spec.last_layers is not None:
        num_layers = model.config.num_layers
        if spec.last_layers > num_layers:
            raise UsageError(f"the model has {num_layers} layers, not {spec.last_layers}")
        model.requires_grad_(False)
        model.model.layers[num_layers - spec.last_layers :].requires_grad_(True)
        model.model.norm.requires_grad_(True)
    if spec.dtype == "bf16":
        round_frozen(model)


def _prepared(
    spec: SFTSpec | PretrainSpec,
    found: Iterable[Text],
    model: TrainableDecoder,
    tokenizer: TextTokenizer,
    end: int,
    save: Callable[[Path], Card],
) -> Prepared:
    found = list(found)
    texts = [text for text in found if fits(text, spec.context)]
    num_too_long = len(found) - len(texts)
    if len(texts) <= spec.held_out:
        raise SpecError(
            f"the data holds {len(found)} texts, of which {num_too_long} do not fit "
            f"{spec.context} tokens and {spec.held_out} are held out: none is left to learn"
        )
    Random(f"held out/{spec.seed}").shuffle(texts)
    held_out, texts = texts[: spec.held_out], texts[spec.held_out :]
    return Prepared(model, texts, held_out, num_too_long, tokenizer, end, save)


def _card(spec: SFTSpec | PretrainSpec, path: str) -> Card:
    return {
        "version": 1,
        "name": spec.name,
        "description": spec.description,
        "backend": "local",
        "prompt": {"template": "bare"},
        "sampling": {"temperature": 0, "max_tokens": spec.sample_tokens},
        "sources": [{"path": path}],
    }


def base_card(card: LocalCard, card_dir: Path) -> Card:
    """The card as data, its paths no longer relative to its own folder."""
    data: Card = json.loads(card.model_dump_json(exclude_none=True))
    for source, stated in zip(card.sources, data["sources"], strict=True):
        if isinstance(source, PathSource):
            stated["path"] = str((card_dir / source.path).absolute())
    return data
