"""A training from its first step to its last: saved on the way, resumed, interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from archon.spec.training import PretrainSpec, SFTSpec
from archon.train.folder import TrainingFolder
from archon.train.packing import (
    PackedBatch,
    batch_loss,
    make_batch,
    pack_once,
    packed_rows,
)
from archon.train.precision import autocast
from archon.train.prepare import Prepared
from archon.train.samples import draw_samples
from archon.train.steps import OnStep
from archon.train.supervised import draw_losses, last_loss, learn
from archon.train.texts import Text

_SHOWN = 3
"""Samples that are kept in words; of the others only whether they are exact."""


@dataclass
class Run:
    """One training in its folder."""

    spec: SFTSpec | PretrainSpec
    prepared: Prepared
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
        spec, model, record = self.spec, self.prepared.model, self.folder.record
        model.to(self.device)
        model.checkpoints = spec.checkpoint_layers
        training = learn(
            spec, model, self.folder, self.on_step,
            losses=self._losses,
            measure=self._measure,
            data=(self.prepared.texts, self.prepared.held_out),
            described={
                "texts": len(self.prepared.texts),
                "too_long": self.prepared.num_too_long,
            },
        )  # fmt: skip
        record |= {
            "last_loss": last_loss(training),
            "loss": [round(loss, 4) for loss in training.curve[:: max(spec.steps // 50, 1)]],
            "after": self._measure(),
        }
        self.folder.write_card(self.prepared.save(self.folder.path))
        self.folder.write_record()
        draw_losses(spec, training, self.folder)
        self.folder.drop_state()
        return record

    def _losses(self, num_taken: int) -> Iterator[list[Callable[[], Tensor]]]:
        """What computes the loss of each step that is left."""
        rows = packed_rows(self.prepared.texts, self.spec.context, self.spec.seed)
        rows = islice(rows, num_taken * self.spec.rows * self.spec.accumulate, None)
        while True:
            yield self._parts(rows)

    def _parts(self, rows: Iterator[list[Text]]) -> list[Callable[[], Tensor]]:
        """What computes the shares of one step's loss."""
        spec = self.spec
        batches = [
            make_batch(list(islice(rows, spec.rows)), spec.context) for _ in range(spec.accumulate)
        ]
        num_wanted = sum(batch.num_wanted for batch in batches)
        return [partial(self._loss, batch, num_wanted) for batch in batches]

    def _loss(self, batch: PackedBatch, num_wanted: int) -> Tensor:
        with autocast(self.spec.dtype, self.device):
            return batch_loss(self.prepared.model, batch.to(self.device), num_wanted)

    @torch.no_grad()
    def _measure(self) -> dict[str, Any]:
        """Loss and samples of the texts that are held out."""
        spec, prepared, model = self.spec, self.prepared, self.prepared.model
        model.eval()
        if not prepared.held_out:
            return {}
        rows = pack_once(prepared.held_out, spec.context)
        batches = [
            make_batch(rows[at : at + spec.rows], spec.context)
            for at in range(0, len(rows), spec.rows)
        ]
        num_wanted = sum(batch.num_wanted for batch in batches)
        loss = sum(self._loss(batch, num_wanted).item() for batch in batches)
        return {"held_out_loss": loss, **self._samples(prepared.held_out[: spec.samples])}

    def _samples(self, texts: Sequence[Text]) -> dict[str, Any]:
        if not texts:
            return {}
        spec, prepared = self.spec, self.prepared
        drawn = draw_samples(
            prepared.model, texts, prepared.end, spec.sample_tokens, spec.dtype, self.device
        )
        decode = prepared.tokenizer.decode
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
