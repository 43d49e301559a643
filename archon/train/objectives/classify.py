"""Classification: train an encoder with a new head.

The head has the same form as in BERT: the last hidden state of the first token goes through a
linear layer and tanh, and a second layer computes one logit per class (Devlin et al. 2018, arXiv
1810.04805). The result is a model folder that transformers can read. If the texts are pairs in two
classes and the good class is known, a model card is written to use the model as a reward model
(``archon.lm.local.cross_encoder``). The reward is the probability of the good class.

Shape suffixes: B texts, T tokens, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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
from archon.train.folder import MODEL, TrainingFolder, new_card
from archon.train.loss_objective import LossObjective
from archon.train.mixed_precision import autocast
from archon.train.model_folder import copy_tokenizer_files
from archon.train.optimization import LossPart
from archon.train.report_lines import Line, headline, held_out_loss, percent
from archon.train.sft_data import read_text
from archon.train.splits import batches, chunks, hold_out
from archon.train.trainer import Start

Input = str | tuple[str, str]
_ENCODERS = ("cross-encoder", "sentence-encoder")
_WRONG_AND_RIGHT = ("0", "1")
"""If these are the labels, the second one is the good class by default."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text or a pair of texts, with the index of its class."""

    text: Input
    label: int


@dataclass(frozen=True)
class LabelledCorpus:
    """Texts, classes and tokenizer for training a classifier."""

    source: ModelFolder
    """Folder of the encoder."""
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    texts: list[Labelled]
    held_out: list[Labelled]
    num_cut: int
    """Number of texts that are longer than the context, of which only the beginning is read."""
    rewarded: str | None
    """Class whose probability is the reward; None if the model is not used as a reward model."""


def labelled_texts(
    path: Path, file: str, good: str | int | None = None
) -> tuple[list[Labelled], tuple[str, ...]]:
    """Read the labelled texts in a file; return them with the names of the classes.

    Parameters
    ----------
    good
        Label of the good class. The good class is put last; all other classes are sorted.

    Raises
    ------
    SpecError
        The file is missing or a line is malformed. Or there is only one class, or no text in the
        good class.
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
            reason = "a line must have 'text' and 'label', or 'prompt', 'completion' and 'label'"
            raise SpecError(f"{reason}; found: {', '.join(sorted(row))}", file=place)
        label = row["label"]
        if isinstance(label, bool) or not isinstance(label, str | int) or label == "":
            reason = f"must be a string or an integer, not {shown(label)}"
            raise SpecError(reason, file=place, path="$.label")
        found.append((text, label))
    labels = {label for _, label in found}
    if len({type(label) for label in labels}) > 1:
        raise SpecError("either all labels must be strings or all must be integers", file=file)
    if len(labels) < 2:
        reason = f"the file must have at least two different labels, not {len(labels)}"
        raise SpecError(reason, file=file)
    if good is not None and good not in labels:
        reason = f"no line has the label {shown(good)}, which 'good' declares as the good class"
        raise SpecError(reason, file=file)
    ordered = sorted(labels, key=lambda label: (label == good, label))
    number_of = {label: number for number, label in enumerate(ordered)}
    return [Labelled(text, number_of[label]) for text, label in found], tuple(map(str, ordered))


def open_objective(spec: ClassifySpec, start: Start) -> Classification:
    """Read the texts, load the card's encoder, and add a new head.

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
        raise UsageError(f"{card.name} is not an encoder; set 'model' to the card of an encoder")
    texts, labels = labelled_texts(start.base_dir / spec.data.path, spec.data.path, spec.good)
    rewarded = _rewarded(spec, texts, labels)
    learned, held_out = hold_out(texts, spec.held_out, spec.seed, lambda labelled: labelled.text)
    if not learned:
        raise SpecError(
            f"no texts are left for training: the file has {len(texts)} texts, and 'held_out' is "
            f"{spec.held_out}; lower 'held_out'",
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
    """Return the class whose probability is the reward.

    The result is None if the texts are not pairs in two classes, or if the good class is unknown.
    """
    is_suitable = len(labels) == 2 and all(isinstance(labelled.text, tuple) for labelled in texts)
    if spec.good is not None and not is_suitable:
        reason = "'good' requires lines with a prompt and a completion, and exactly two labels"
        raise SpecError(reason, path="$.good")
    is_known = spec.good is not None or labels == _WRONG_AND_RIGHT
    return labels[-1] if is_suitable and is_known else None


class Classification(LossObjective):
    """Objective of classification, which minimizes the cross-entropy of the classes."""

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
        super().__init__(spec, model.to(device), data, folder, has_dropout=has_dropout)
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
        copy_tokenizer_files(corpus.source, path)
        if corpus.rewarded is not None:
            keys = {"transformer": "cross-encoder", "precision": "float32"}
            self.folder.write_card(new_card(self._spec, **keys))

    def losses(self, num_taken: int) -> Iterator[list[LossPart]]:
        """See ``LossObjective.losses``."""
        spec = self._spec
        order = batches(self._corpus.texts, spec.rows, f"texts/{spec.seed}", num_taken)
        return ([partial(self._loss, texts)] for texts in order)

    def _logits(self, texts: Sequence[Labelled]) -> Tensor:
        """Return the class logits of each text, (B, C)."""
        corpus, device = self._corpus, self._device
        batch = padded(corpus.tokenizer.encode_batch([labelled.text for labelled in texts]))
        ids_BT, is_token_BT = batch.ids_BT.to(device), batch.is_token_BT.to(device)
        with autocast(self._spec.dtype, device):
            return self._classifier(ids_BT, is_token_BT, batch.segment_BT.to(device)).float()

    def _loss(self, texts: Sequence[Labelled]) -> Tensor:
        label_B = torch.tensor([labelled.label for labelled in texts], device=self._device)
        return functional.cross_entropy(self._logits(texts), label_B)

    @torch.no_grad()
    def measure(self) -> dict[str, Any]:
        """Return the loss and the accuracy on the held-out texts."""
        held_out = self._corpus.held_out
        self._classifier.eval()
        if not held_out:
            return {}
        logits_BC = torch.cat([self._logits(part) for part in chunks(held_out, self._spec.rows)])
        label_B = torch.tensor([labelled.label for labelled in held_out], device=self._device)
        return {
            "held_out_loss": functional.cross_entropy(logits_BC, label_B).item(),
            "held_out_accuracy": (logits_BC.argmax(-1) == label_B).float().mean().item(),
            "num_held_out": len(held_out),
        }


def report(record: Mapping[str, Any]) -> Iterator[Line]:
    """Yield the lines that the command prints after training."""
    yield headline(record, f"{record['texts']:,} texts")
    if record["cut"]:
        yield f"{record['cut']:,} texts are longer than the context and were truncated", "yellow"
    yield from held_out_loss(record)
    before, after = record["before"], record["after"]
    if after:
        shares = " → ".join(percent(measured["held_out_accuracy"]) for measured in (before, after))
        yield f"accuracy on {after['num_held_out']:,} held-out texts: {shares}", None
    if record["rewarded"] is not None:
        yield f"the reward is the probability of the class {record['rewarded']}", None
