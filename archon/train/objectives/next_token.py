"""Cross-entropy of the next token on given texts: what fine-tuning and pretraining share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from archon.errors import SpecError
from archon.lm.local.tokenizer import TextTokenizer
from archon.spec.training import PretrainSpec, SFTSpec
from archon.train.base_model import Card
from archon.train.decoder import TrainableDecoder
from archon.train.folder import TrainingFolder
from archon.train.greedy_eval import greedy_samples
from archon.train.loss_objective import LossObjective
from archon.train.mixed_precision import autocast
from archon.train.optimization import LossPart
from archon.train.packing import PackedBatch, batch_loss, fits, make_batch, pack_once, packed_rows
from archon.train.report_lines import Line, headline, held_out_loss, left_out, samples
from archon.train.sft_data import Text
from archon.train.splits import hold_out

_SHOWN = 3
"""Samples that the record keeps as text; of the others it keeps only whether they are exact."""


@dataclass(frozen=True)
class Corpus:
    """Model, texts and tokenizer of a training on given texts."""

    model: TrainableDecoder
    texts: list[Text]
    held_out: list[Text]
    num_too_long: int
    """Texts that are left out because they do not fit a row."""
    tokenizer: TextTokenizer
    end: int
    """The token that ends a text."""
    save: Callable[[Path], Card]
    """Writes the trained model into a folder; returns the card that runs it."""


def corpus(
    spec: SFTSpec | PretrainSpec,
    found: Iterable[Text],
    model: TrainableDecoder,
    tokenizer: TextTokenizer,
    end: int,
    save: Callable[[Path], Card],
) -> Corpus:
    """Leave out texts that are too long, and hold some of the others out.

    Raises
    ------
    SpecError
        No text is left to learn from.
    """
    found = list(found)
    fitting = [text for text in found if fits(text, spec.context)]
    num_too_long = len(found) - len(fitting)
    texts, held_out = hold_out(fitting, spec.held_out, spec.seed, lambda text: text.question)
    if not texts:
        raise SpecError(
            f"no text is left to learn from: of {len(found)} texts, {num_too_long} do not fit "
            f"{spec.context} tokens, and {spec.held_out} are held out, with all others that have "
            "the same prompts"
        )
    return Corpus(model, texts, held_out, num_too_long, tokenizer, end, save)


class NextToken(LossObjective):
    """Learns to predict the texts' tokens, in packed rows."""

    def __init__(
        self,
        spec: SFTSpec | PretrainSpec,
        learned: Corpus,
        folder: TrainingFolder,
        device: torch.device,
    ) -> None:
        model = learned.model.to(device)
        model.checkpoints = spec.checkpoint_layers
        super().__init__(spec, spec.seed, model, (learned.texts, learned.held_out), folder)
        self._spec, self._corpus, self._device = spec, learned, device

    def described(self) -> Mapping[str, Any]:
        """See ``LossObjective.described``."""
        return {"texts": len(self._corpus.texts), "too_long": self._corpus.num_too_long}

    def save(self) -> None:
        """See ``LossObjective.save``."""
        self.folder.write_card(self._corpus.save(self.folder.path))

    def losses(self, num_taken: int) -> Iterator[list[LossPart]]:
        """See ``LossObjective.losses``."""
        spec = self._spec
        rows = packed_rows(self._corpus.texts, spec.context, spec.seed)
        rows = islice(rows, num_taken * spec.rows * spec.accumulate, None)
        while True:
            batches = [
                make_batch(list(islice(rows, spec.rows)), spec.context)
                for _ in range(spec.accumulate)
            ]
            num_wanted = sum(batch.num_wanted for batch in batches)
            yield [partial(self._loss, batch, num_wanted) for batch in batches]

    def _loss(self, batch: PackedBatch, num_wanted: int) -> Tensor:
        with autocast(self._spec.dtype, self._device):
            return batch_loss(self._corpus.model, batch.to(self._device), num_wanted)

    @torch.no_grad()
    def measure(self) -> dict[str, Any]:
        """Loss and greedy samples on the held-out texts."""
        spec, held_out = self._spec, self._corpus.held_out
        self._corpus.model.eval()
        if not held_out:
            return {}
        rows = pack_once(held_out, spec.context)
        batches = [
            make_batch(rows[at : at + spec.rows], spec.context)
            for at in range(0, len(rows), spec.rows)
        ]
        num_wanted = sum(batch.num_wanted for batch in batches)
        loss = sum(self._loss(batch, num_wanted).item() for batch in batches)
        return {"held_out_loss": loss, **self._samples(held_out[: spec.samples])}

    def _samples(self, texts: Sequence[Text]) -> dict[str, Any]:
        if not texts:
            return {}
        spec, decode = self._spec, self._corpus.tokenizer.decode
        drawn = greedy_samples(
            self._corpus.model,
            texts,
            self._corpus.end,
            spec.sample_tokens,
            spec.dtype,
            self._device,
        )
        return {
            "num_samples": len(texts),
            "num_exact": sum(sample is not None and sample.is_exact for sample in drawn),
            "samples": [
                {
                    "shown": decode(text.token_ids[: text.num_shown]),
                    "said": None if sample is None else decode(sample.token_ids),
                    "wanted": decode(text.token_ids[text.num_shown :]),
                }
                for text, sample in list(zip(texts, drawn, strict=True))[:_SHOWN]
            ],
        }


def card_of(spec: SFTSpec | PretrainSpec, path: str) -> Card:
    """The card of a whole model that was trained on texts."""
    return {
        "version": 1,
        "name": spec.name,
        "description": spec.description,
        "backend": "local",
        "prompt": {"template": "bare"},
        "sampling": {"temperature": 0, "max_tokens": spec.sample_tokens},
        "sources": [{"path": path}],
    }


def report(record: Mapping[str, Any]) -> Iterator[Line]:
    """The lines that the command prints when such a training is done."""
    yield headline(record, f"{record['texts']:,} texts")
    yield from left_out(record)
    yield from held_out_loss(record)
    before, after = record["before"], record["after"]
    if after.get("num_samples"):
        counts = f"{before['num_exact']} → {after['num_exact']}"
        yield f"held-out answers that are exact: {counts} of {after['num_samples']}", None
    yield from samples(record)
