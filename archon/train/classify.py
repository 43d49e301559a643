"""A new head on an encoder: a training that learns to tell the classes of texts.

The head is that of BERT: what the first token becomes, through a layer and tanh, then a logit for
every class (Devlin et al. 2018, arXiv 1810.04805). What is made is a folder that transformers
reads. Where pairs were learnt and one of two classes is said to be the good one, a card makes it a
reward model (``archon.lm.local.cross_encoder``): the reward is the probability of that class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from archon.engine.families.encoder import initialise_encoder
from archon.engine.families.heads import TextClassifier
from archon.engine.families.weights import load_encoder, save_text_classifier
from archon.engine.files.folder import ModelFolder
from archon.errors import SpecError, UsageError
from archon.lm.local.encoder_text import encoder_tokenizer, padded
from archon.lm.local.folders import pulled_folder
from archon.spec.json_lines import read_rows
from archon.spec.messages import shown
from archon.spec.model import LocalCard
from archon.spec.training import ClassifySpec
from archon.train.folder import MODEL, TrainingFolder
from archon.train.loop import LossPart
from archon.train.model_folder import copy_text_files
from archon.train.order import hold_out, rounds
from archon.train.precision import autocast
from archon.train.steps import OnStep
from archon.train.supervised import draw_losses, last_loss, learn
from archon.train.texts import read_text

Input = str | tuple[str, str]
_ENCODERS = ("cross-encoder", "sentence-encoder")
_WRONG_AND_RIGHT = ("0", "1")
"""Labels of which the second is the good one without a word."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text, or a pair of texts, and its class."""

    text: Input
    label: int


@dataclass(frozen=True)
class PreparedClassifier:
    """Everything that such a training starts from."""

    model: TextClassifier
    source: ModelFolder
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    texts: list[Labelled]
    held_out: list[Labelled]
    num_cut: int
    """Texts that are longer than the context, of which only the beginning is read."""
    rewarded: str | None
    """The class whose probability is a reward; None where the model is to be no reward model."""


def labelled_texts(
    path: Path, file: str, good: str | int | None = None
) -> tuple[list[Labelled], tuple[str, ...]]:
    """The texts of a file, and the names of their classes in order, the good one last.

    Raises
    ------
    SpecError : the file is missing, a line is of another form, all are of one class, or none is of
        the good one.
    """
    found: list[tuple[Input, str | int]] = []
    for number, row in read_rows(path, file):
        place = f"{file}:{number}"
        if row.keys() == {"text", "label"}:
            text: Input = read_text(row["text"], place, "text")
        elif row.keys() == {"prompt", "completion", "label"}:
            text = (
                read_text(row["prompt"], place, "prompt"),
                read_text(row["completion"], place, "completion"),
            )
        else:
            reason = "a line has 'text' and 'label', or 'prompt', 'completion' and 'label'"
            raise SpecError(f"has the keys {', '.join(sorted(row))}; {reason}", file=place)
        label = row["label"]
        if isinstance(label, bool) or not isinstance(label, str | int) or label == "":
            reason = f"is {shown(label)}, neither a text nor a whole number"
            raise SpecError(reason, file=place, path="$.label")
        found.append((text, label))
    labels = {label for _, label in found}
    if len({type(label) for label in labels}) > 1:
        raise SpecError("some labels are texts and some are numbers", file=file)
    if len(labels) < 2:
        raise SpecError(f"the file holds {len(labels)} classes; two are needed", file=file)
    if good is not None and good not in labels:
        raise SpecError(f"no line has the label {shown(good)}, the 'good' one", file=file)
    ordered = sorted(labels, key=lambda label: (label == good, label))
    number_of = {label: number for number, label in enumerate(ordered)}
    return [Labelled(text, number_of[label]) for text, label in found], tuple(map(str, ordered))


def prepare_classifier(
    spec: ClassifySpec, card: LocalCard, base_dir: Path, card_dir: Path
) -> PreparedClassifier:
    """Load a card's encoder, put a new head on it, and read the texts.

    Raises
    ------
    SpecError : the data is missing or of another form.
    ModelError : the weights cannot be had or run.
    UsageError : the model is no encoder.
    """
    if card.transformer not in _ENCODERS:
        raise UsageError(f"{card.name} is no encoder, which alone gets such a head")
    texts, labels = labelled_texts(base_dir / spec.data.path, spec.data.path, spec.good)
    rewarded = _rewarded(spec, texts, labels)
    learnt, held_out = hold_out(texts, spec.held_out, spec.seed, lambda labelled: labelled.text)
    if not learnt:
        raise SpecError(
            f"the file holds {len(texts)} texts, of which {spec.held_out} are held out: none is "
            "left to learn",
            file=spec.data.path,
        )
    _, source = pulled_folder(card, card_dir, "an encoder")
    encoder = load_encoder(source)
    model = TextClassifier(encoder, len(labels))
    for index, part in enumerate((model.pooler, model.classes)):
        initialise_encoder(part, spec.seed + index)
    encoder.requires_grad_(spec.body == "whole")
    context = min(spec.context, encoder.config.context_length)
    tokenizer = encoder_tokenizer(source, context)
    encoded = tokenizer.encode_batch([labelled.text for labelled in texts])
    num_cut = sum(bool(encoding.overflowing) for encoding in encoded)
    return PreparedClassifier(model, source, tokenizer, labels, learnt, held_out, num_cut, rewarded)


def _rewarded(spec: ClassifySpec, texts: Sequence[Labelled], labels: tuple[str, ...]) -> str | None:
    """The class whose probability is a reward, if it is known and pairs are told apart."""
    is_fit = len(labels) == 2 and all(isinstance(labelled.text, tuple) for labelled in texts)
    if spec.good is not None and not is_fit:
        reason = "a reward is read from pairs {prompt, completion} of two classes"
        raise SpecError(reason, path="$.good")
    return labels[-1] if is_fit and (spec.good is not None or labels == _WRONG_AND_RIGHT) else None


@dataclass
class ClassifierRun:
    """One such training in its folder."""

    spec: ClassifySpec
    prepared: PreparedClassifier
    folder: TrainingFolder
    device: torch.device
    on_step: OnStep | None = None

    def run(self) -> dict[str, Any]:
        """Take the steps that are left; returns the folder's record.

        Raises
        ------
        KeyboardInterrupt : after the step that was under way; the state is saved.
        UsageError : the loss is no number any more, or the data are not those that training began
            with.
        StorageError : the disk does not take the state.
        """
        spec, prepared, record = self.spec, self.prepared, self.folder.record
        model = prepared.model.to(self.device)
        training = learn(
            spec, model, self.folder, self.on_step,
            losses=self._losses,
            measure=self._measure,
            data=(prepared.labels, prepared.texts, prepared.held_out),
            described={
                "texts": len(prepared.texts),
                "cut": prepared.num_cut,
                "classes": list(prepared.labels),
                "rewarded": prepared.rewarded,
            },
            has_dropout=spec.body == "whole",
        )  # fmt: skip
        record |= {"last_loss": last_loss(training), "after": self._measure()}
        path = self.folder.path / MODEL
        save_text_classifier(model, prepared.source.config, path, prepared.labels)
        copy_text_files(prepared.source, path)
        if prepared.rewarded is not None:
            self.folder.write_card(self._card())
        self.folder.write_record()
        draw_losses(spec, training, self.folder)
        self.folder.drop_state()
        return record

    def _losses(self, num_taken: int) -> Iterator[list[LossPart]]:
        """What computes the loss of each step that is left."""
        rows = self.spec.rows
        order = rounds(self.prepared.texts, f"texts/{self.spec.seed}")
        stream = islice(chain.from_iterable(order), num_taken * rows, None)
        while True:
            yield [partial(self._loss, list(islice(stream, rows)))]

    def _logits(self, some: Sequence[Labelled]) -> Tensor:
        """(B, C)"""
        prepared, device = self.prepared, self.device
        batch = padded(prepared.tokenizer.encode_batch([labelled.text for labelled in some]))
        ids_BT, is_token_BT = batch.ids_BT.to(device), batch.is_token_BT.to(device)
        with autocast(self.spec.dtype, device):
            return prepared.model(ids_BT, is_token_BT, batch.segment_BT.to(device)).float()

    def _loss(self, some: Sequence[Labelled]) -> Tensor:
        label_B = torch.tensor([labelled.label for labelled in some], device=self.device)
        return functional.cross_entropy(self._logits(some), label_B)

    @torch.no_grad()
    def _measure(self) -> dict[str, Any]:
        """Loss and accuracy on the texts that are held out."""
        held_out, rows = self.prepared.held_out, self.spec.rows
        self.prepared.model.eval()
        if not held_out:
            return {}
        parts = [held_out[at : at + rows] for at in range(0, len(held_out), rows)]
        logits_BC = torch.cat([self._logits(part) for part in parts])
        label_B = torch.tensor([labelled.label for labelled in held_out], device=self.device)
        return {
            "held_out_loss": functional.cross_entropy(logits_BC, label_B).item(),
            "held_out_accuracy": (logits_BC.argmax(-1) == label_B).float().mean().item(),
            "num_held_out": len(held_out),
        }

    def _card(self) -> dict[str, Any]:
        return {
            "version": 1,
            "name": self.spec.name,
            "description": self.spec.description,
            "backend": "local",
            "transformer": "cross-encoder",
            "precision": "float32",
            "sources": [{"path": MODEL}],
        }
