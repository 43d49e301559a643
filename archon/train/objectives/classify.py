"""A new head on an encoder: a training that learns to tell the classes of texts.

The head is that of BERT: what the first token becomes, through a layer and tanh, then a logit for
every class (Devlin et al. 2018, arXiv 1810.04805). What is made is a folder that transformers
reads. Where pairs were learnt and one of two classes is said to be the good one, a card makes it a
reward model (``archon.lm.local.cross_encoder``): the reward is the probability of that class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from archon.engine.encoders.encoder import initialise_encoder
from archon.engine.encoders.heads import TextClassifier
from archon.engine.encoders.weights import load_encoder, save_text_classifier
from archon.engine.files.folder import ModelFolder
from archon.errors import SpecError, UsageError
from archon.lm.local.card_loading import pull_folder
from archon.lm.local.encoder_tokenizer import encoder_tokenizer, padded
from archon.spec.json_lines import read_rows
from archon.spec.messages import shown
from archon.spec.training import ClassifySpec
from archon.train.folder import MODEL, TrainingFolder
from archon.train.loss_objective import LossObjective
from archon.train.mixed_precision import autocast
from archon.train.model_folder import copy_text_files
from archon.train.optimization import LossPart
from archon.train.report_lines import Line, headline, held_out_loss, percent
from archon.train.sft_data import read_text
from archon.train.splits import hold_out, rounds
from archon.train.trainer import Start

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
class LabelledCorpus:
    """Texts and tokenizer of such a training."""

    source: ModelFolder
    """The encoder's own folder."""
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    texts: list[Labelled]
    held_out: list[Labelled]
    num_cut: int
    """Texts that are longer than the context, of which only the beginning is read."""
    rewarded: str | None
    """The class whose probability is the reward; None where the model is not a reward model."""


def labelled_texts(
    path: Path, file: str, good: str | int | None = None
) -> tuple[list[Labelled], tuple[str, ...]]:
    """The texts of a file, and the names of their classes in order, the good one last.

    Raises
    ------
    SpecError
        The file is missing, a line is of another form, all are of one class, or none is of the good
        one.
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


def open_objective(spec: ClassifySpec, start: Start) -> Classification:
    """Load the card's encoder, put a new head on it, and read the texts.

    Raises
    ------
    SpecError
        The data is missing or malformed.
    ModelError
        The weights are unavailable or cannot be run.
    UsageError
        The model is not an encoder.
    """
    card, card_dir = start.pull_card(spec.model)
    if card.transformer not in _ENCODERS:
        raise UsageError(f"{card.name} is not an encoder; only encoders get such a head")
    texts, labels = labelled_texts(start.base_dir / spec.data.path, spec.data.path, spec.good)
    rewarded = _rewarded(spec, texts, labels)
    learned, held_out = hold_out(texts, spec.held_out, spec.seed, lambda labelled: labelled.text)
    if not learned:
        raise SpecError(
            f"no text is left to learn from: the file holds {len(texts)}, of which "
            f"{spec.held_out} are held out",
            file=spec.data.path,
        )
    _, source = pull_folder(card, card_dir, "an encoder")
    encoder = load_encoder(source)
    model = TextClassifier(encoder, len(labels))
    for index, part in enumerate((model.pooler, model.classes)):
        initialise_encoder(part, spec.seed + index)
    encoder.requires_grad_(spec.body == "whole")
    context = min(spec.context, encoder.config.context_length)
    tokenizer = encoder_tokenizer(source, context)
    encoded = tokenizer.encode_batch([labelled.text for labelled in texts])
    num_cut = sum(bool(encoding.overflowing) for encoding in encoded)
    corpus = LabelledCorpus(source, tokenizer, labels, learned, held_out, num_cut, rewarded)
    return Classification(spec, model, corpus, start.folder, start.device)


def _rewarded(spec: ClassifySpec, texts: Sequence[Labelled], labels: tuple[str, ...]) -> str | None:
    """The class whose probability is a reward, if it is known and pairs are told apart."""
    is_fit = len(labels) == 2 and all(isinstance(labelled.text, tuple) for labelled in texts)
    if spec.good is not None and not is_fit:
        reason = "a reward is read from pairs {prompt, completion} of two classes"
        raise SpecError(reason, path="$.good")
    return labels[-1] if is_fit and (spec.good is not None or labels == _WRONG_AND_RIGHT) else None


class Classification(LossObjective):
    """Learns the classes by cross-entropy."""

    def __init__(
        self,
        spec: ClassifySpec,
        model: TextClassifier,
        corpus: LabelledCorpus,
        folder: TrainingFolder,
        device: torch.device,
    ) -> None:
        data = (corpus.labels, corpus.texts, corpus.held_out)
        has_dropout = spec.body == "whole"
        super().__init__(spec, spec.seed, model.to(device), data, folder, has_dropout=has_dropout)
        self._spec, self._classifier, self._corpus, self._device = spec, model, corpus, device

    def described(self) -> Mapping[str, Any]:
        """See ``LossObjective.described``."""
        corpus = self._corpus
        return {
            "texts": len(corpus.texts),
            "cut": corpus.num_cut,
            "classes": list(corpus.labels),
            "rewarded": corpus.rewarded,
        }

    def save(self) -> None:
        """See ``LossObjective.save``."""
        corpus, path = self._corpus, self.folder.path / MODEL
        save_text_classifier(self._classifier, corpus.source.config, path, corpus.labels)
        copy_text_files(corpus.source, path)
        if corpus.rewarded is not None:
            self.folder.write_card(self._card())

    def losses(self, num_taken: int) -> Iterator[list[LossPart]]:
        """See ``LossObjective.losses``."""
        rows = self._spec.rows
        order = rounds(self._corpus.texts, f"texts/{self._spec.seed}")
        stream = islice(chain.from_iterable(order), num_taken * rows, None)
        while True:
            yield [partial(self._loss, list(islice(stream, rows)))]

    def _logits(self, some: Sequence[Labelled]) -> Tensor:
        """(B, C)"""
        corpus, device = self._corpus, self._device
        batch = padded(corpus.tokenizer.encode_batch([labelled.text for labelled in some]))
        ids_BT, is_token_BT = batch.ids_BT.to(device), batch.is_token_BT.to(device)
        with autocast(self._spec.dtype, device):
            return self._classifier(ids_BT, is_token_BT, batch.segment_BT.to(device)).float()

    def _loss(self, some: Sequence[Labelled]) -> Tensor:
        label_B = torch.tensor([labelled.label for labelled in some], device=self._device)
        return functional.cross_entropy(self._logits(some), label_B)

    @torch.no_grad()
    def measure(self) -> dict[str, Any]:
        """Loss and accuracy on the texts that are held out."""
        held_out, rows = self._corpus.held_out, self._spec.rows
        self._classifier.eval()
        if not held_out:
            return {}
        parts = [held_out[at : at + rows] for at in range(0, len(held_out), rows)]
        logits_BC = torch.cat([self._logits(part) for part in parts])
        label_B = torch.tensor([labelled.label for labelled in held_out], device=self._device)
        return {
            "held_out_loss": functional.cross_entropy(logits_BC, label_B).item(),
            "held_out_accuracy": (logits_BC.argmax(-1) == label_B).float().mean().item(),
            "num_held_out": len(held_out),
        }

    def _card(self) -> dict[str, Any]:
        return {
            "version": 1,
            "name": self._spec.name,
            "description": self._spec.description,
            "backend": "local",
            "transformer": "cross-encoder",
            "precision": "float32",
            "sources": [{"path": MODEL}],
        }


def report(record: Mapping[str, Any]) -> Iterator[Line]:
    """The lines that the command prints when such a training is done."""
    yield headline(record, f"{record['texts']:,} texts")
    if record["cut"]:
        yield f"{record['cut']:,} texts are longer than the context and were cut", "yellow"
    yield from held_out_loss(record)
    before, after = record["before"], record["after"]
    if after:
        shares = " → ".join(percent(told["held_out_accuracy"]) for told in (before, after))
        yield f"held-out texts classified correctly: {shares} of {after['num_held_out']}", None
    if record["rewarded"] is not None:
        yield f"reward = P({record['rewarded']})", None
