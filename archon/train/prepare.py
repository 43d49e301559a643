"""What a configuration asks for, made ready: model, texts, and how the result is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from archon.engine.config import DecoderConfig
from archon.engine.files.folder import ModelFolder
from archon.errors import SpecError
from archon.lm.local.text_folder import text_rules_of_folder
from archon.lm.local.tokenizer import TextTokenizer
from archon.spec.model import LocalCard
from archon.spec.training import PretrainSpec, SFTSpec
from archon.train.base import Card, open_base
from archon.train.decoder import TrainableDecoder, initialise
from archon.train.folder import MODEL
from archon.train.model_folder import save_decoder
from archon.train.order import hold_out
from archon.train.packing import fits
from archon.train.texts import Text, answer_text, dialogues, plain_texts, whole_text
from archon.train.vocabulary import END_ID, learn_vocabulary, save_vocabulary


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


def prepare_fine_tuning(
    spec: SFTSpec, card: LocalCard, base_dir: Path, card_dir: Path, device: torch.device
) -> Prepared:
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
    base = open_base(card, card_dir)
    found = [
        answer_text(d, base.chat, base.tokenizer, base.end, base.template_variables)
        for d in dialogues(spec.data, base_dir)
    ]
    model = base.trainable(spec, device)

    def save(folder: Path) -> Card:
        made = base.save(model, spec, folder, _card(spec, MODEL))
        return made | {"prompt": {"template": "bare"}}  # which is how the prompts were learnt

    return _prepared(spec, found, model, base.tokenizer, base.end, save)


def _prepared(
    spec: SFTSpec | PretrainSpec,
    found: Iterable[Text],
    model: TrainableDecoder,
    tokenizer: TextTokenizer,
    end: int,
    save: Callable[[Path], Card],
) -> Prepared:
    found = list(found)
    fitting = [text for text in found if fits(text, spec.context)]
    num_too_long = len(found) - len(fitting)
    texts, held_out = hold_out(fitting, spec.held_out, spec.seed, lambda text: text.question)
    if not texts:
        raise SpecError(
            f"the data holds {len(found)} texts, of which {num_too_long} do not fit "
            f"{spec.context} tokens and {spec.held_out} are held out, with all to the same "
            "prompts: none is left to learn"
        )
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
