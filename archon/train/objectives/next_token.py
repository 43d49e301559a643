"""Next-token prediction on given texts, which fine-tuning and pretraining share."""

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
from archon.spec.training import TextTrainingSpec
from archon.train.decoder import TrainableDecoder
from archon.train.folder import Card, TrainingFolder, new_card
from archon.train.greedy_eval import greedy_samples
from archon.train.loss_objective import LossObjective
from archon.train.mixed_precision import autocast
from archon.train.optimization import LossPart
from archon.train.packing import PackedBatch, batch_loss, fits, make_batch, pack_once, packed_rows
from archon.train.report_lines import Line, headline, held_out_loss, left_out, samples
from archon.train.sft_data import Text
from archon.train.splits import chunks, hold_out

_SHOWN = 3
"""Maximum number of samples whose text is recorded. All samples count in the number of exact
samples."""


@dataclass(frozen=True)
class Corpus:
    """Model, tokenizer and texts for next-token prediction."""

    model: TrainableDecoder
    texts: list[Text]
    held_out: list[Text]
    num_too_long: int
    """Number of texts that are excluded because they do not fit in a row."""
    tokenizer: TextTokenizer
    end: int
    """Token that ends a text."""
    save: Callable[[Path], Card]
    """Function that writes the trained model to a folder and returns its model card."""


def build_corpus(
    spec: TextTrainingSpec,
    found: Iterable[Text],
    model: TrainableDecoder,
    tokenizer: TextTokenizer,
    end: int,
    save: Callable[[Path], Card],
) -> Corpus:
    """Exclude texts that are too long, and split the rest into training and held-out texts.

    Parameters
    ----------
    found
        All texts.
    end, save
        See ``Corpus``.

    Raises
    ------
    SpecError
        No texts are left for training.
    """
    found = list(found)
    fitting = [text for text in found if fits(text, spec.context)]
    num_too_long = len(found) - len(fitting)
    texts, held_out = hold_out(fitting, spec.held_out, spec.seed, lambda text: text.question)
    if not texts:
        raise SpecError(
            f"no texts are left for training: of {len(found)} texts, {num_too_long} do not fit "
            f"in {spec.context} tokens, and {spec.held_out} are held out together with all other "
            "texts with the same prompts; change 'context' or 'held_out'"
        )
    return Corpus(model, texts, held_out, num_too_long, tokenizer, end, save)


class NextToken(LossObjective):
    """Objective that minimizes the cross-entropy of the texts' tokens, in packed rows."""

    def __init__(
        self,
        spec: TextTrainingSpec,
        corpus: Corpus,
        folder: TrainingFolder,
        device: torch.device,
    ) -> None:
        model = corpus.model.to(device)
        model.checkpoints = spec.checkpoint_layers
        super().__init__(spec, model, (corpus.texts, corpus.held_out), folder)
        self._spec, self._corpus, self._device = spec, corpus, device

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
            num_targets = sum(batch.num_targets for batch in batches)
            yield [partial(self._loss, batch, num_targets) for batch in batches]

    def _loss(self, batch: PackedBatch, num_targets: int) -> Tensor:
        with autocast(self._spec.dtype, self._device):
            return batch_loss(self._corpus.model, batch.to(self._device), num_targets)

    @torch.no_grad()
    def measure(self) -> dict[str, Any]:
        """Return the loss on the held-out texts, and greedy samples that continue them."""
        spec, held_out = self._spec, self._corpus.held_out
        self._corpus.model.eval()
        if not held_out:
            return {}
        rows = chunks(pack_once(held_out, spec.context), spec.rows)
        batches = [make_batch(batch_rows, spec.context) for batch_rows in rows]
        num_targets = sum(batch.num_targets for batch in batches)
        loss = sum(self._loss(batch, num_targets).item() for batch in batches)
        return {"held_out_loss": loss, **self._samples(held_out[: spec.samples])}

    def _samples(self, texts: Sequence[Text]) -> dict[str, Any]:
        if not texts:
            return {}
        spec, corpus, decode = self._spec, self._corpus, self._corpus.tokenizer.decode
        found = greedy_samples(
            corpus.model, texts, corpus.end, spec.sample_tokens, spec.dtype, self._device
        )
        return {
            "num_samples": len(texts),
            "num_exact": sum(sample is not None and sample.is_exact for sample in found),
            "samples": [
                {
                    "shown": decode(text.token_ids[: text.num_shown]),
                    "said": None if sample is None else decode(sample.token_ids),
                    "wanted": decode(text.token_ids[text.num_shown :]),
                }
                for text, sample in list(zip(texts, found, strict=True))[:_SHOWN]
            ],
        }


def text_model_card(spec: TextTrainingSpec) -> Card:
    """Return a trained model's card, with greedy sampling and the plain question as the prompt."""
    sampling = {"temperature": 0, "max_tokens": spec.sample_tokens}
    return new_card(spec, prompt={"template": "bare"}, sampling=sampling)


def report(record: Mapping[str, Any]) -> Iterator[Line]:
    """Yield the lines that the command prints after training."""
    yield headline(record, f"{record['texts']:,} texts")
    yield from left_out(record)
    yield from held_out_loss(record)
    before, after = record["before"], record["after"]
    if after.get("num_samples"):
        counts = f"{before['num_exact']} → {after['num_exact']}"
        yield f"exact held-out answers: {counts} of {after['num_samples']}", None
    yield from samples(record)
