"""A training from its first step to its last: saved on the way, resumed, interrupted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from archon.errors import UsageError
from archon.spec.training import PretrainSpec, SFTSpec
from archon.train.folder import TrainingFolder
from archon.train.loop import Schedule, Training
from archon.train.packing import PackedBatch, batch_loss, make_batch, pack, packed_rows
from archon.train.prepare import Prepared
from archon.train.samples import draw_samples
from archon.train.steps import OnStep, take_steps
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
        UsageError : the loss is no number any more.
        StorageError : the disk does not take the state.
        """
        spec, model, record = self.spec, self.prepared.model, self.folder.record
        model.to(self.device)
        model.checkpoints = spec.checkpoint_layers
        schedule = Schedule(
            spec.steps, spec.learning_rate, spec.warmup_steps, spec.weight_decay,
            spec.max_gradient_norm,
        )  # fmt: skip
        training = Training(model, schedule)
        saved = self.folder.read_state()
        if saved is not None:
            training.restore(*saved)
        else:
            record |= {
                "parameters": sum(p.numel() for p in model.parameters()),
                "trained_parameters": training.num_trained,
                "texts": len(self.prepared.texts),
                "too_long": self.prepared.num_too_long,
                "train_seconds": 0.0,
                "before": self._measure(),
            }
            self.folder.write_record()
        self._steps(training)
        record |= {
            "last_loss": sum(training.curve[-20:]) / len(training.curve[-20:]),
            "loss": [round(loss, 4) for loss in training.curve[:: max(spec.steps // 50, 1)]],
            "after": self._measure(),
        }
        self.folder.write_card(self.prepared.save(self.folder.path))
        self.folder.write_record()
        self._draw(training)
        self.folder.drop_state()
        return record

    def _steps(self, training: Training) -> None:
        spec = self.spec
        rows = packed_rows(self.prepared.texts, spec.context, spec.seed)
        per_step = spec.rows * spec.accumulate
        rows = islice(rows, training.num_steps * per_step, None)
        started, before = time.monotonic(), self.folder.record["train_seconds"]
        training.model.train()

        def take(step: int) -> float:
            # Dropout is a function of the step, so that what is resumed goes on as it would.
            torch.manual_seed(spec.seed * 1_000_003 + step)
            loss = training.step(self._parts(rows))
            if not math.isfinite(loss):
                raise UsageError(
                    f"the loss of step {step + 1} is no number; a smaller learning_rate helps"
                )
            return loss

        def save() -> None:
            seconds = before + time.monotonic() - started
            self.folder.record["train_seconds"] = round(seconds, 1)
            self.folder.save_state(training.state(), training.curve)
            self.folder.write_record()
            self._draw(training)

        steps = range(training.num_steps, spec.steps)
        take_steps(steps, take, save, spec.save_every, self.on_step)
        training.model.eval()

    def _parts(self, rows: Iterator[list[Text]]) -> list[Callable[[], Tensor]]:
        """What computes the shares of one step's loss."""
        spec = self.spec
        batches = [
            make_batch(list(islice(rows, spec.rows)), spec.context) for _ in range(spec.accumulate)
        ]
        num_wanted = sum(batch.num_wanted for batch in batches)
        return [partial(self._loss, batch, num_wanted) for batch in batches]

    def _loss(self, batch: PackedBatch, num_wanted: int) -> Tensor:
        kind, in_bf16 = self.device.type, self.spec.dtype == "bf16"
        with torch.autocast(kind, torch.bfloat16, enabled=in_bf16):
            return batch_loss(self.prepared.model, batch.to(self.device), num_wanted)

    @torch.no_grad()
    def _measure(self) -> dict[str, Any]:
        """Loss and samples of the texts that are held out."""
        spec, prepared, model = self.spec, self.prepared, self.prepared.model
        model.eval()
        if not prepared.held_out:
            return {}
        rows = list(pack(iter(prepared.held_out), spec.context))
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

    def _draw(self, training: Training) -> None:
        record = self.folder.record
        held_out = {
            steps: record[when]["held_out_loss"]
            for when, steps in (("before", 0), ("after", self.spec.steps))
            if record.get(when)
        }
        self.folder.draw(self.spec.name, training.curve, held_out)
