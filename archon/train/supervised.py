"""What trainings by right answers share: from where a folder stands to the last step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from archon.errors import UsageError
from archon.spec.training import ClassifySpec, PretrainSpec, SFTSpec
from archon.train.folder import TrainingFolder
from archon.train.loop import LossPart, Training, schedule_of
from archon.train.steps import OnStep, take_steps

SupervisedSpec = SFTSpec | PretrainSpec | ClassifySpec


def learn(
    spec: SupervisedSpec,
    model: nn.Module,
    folder: TrainingFolder,
    on_step: OnStep | None,
    *,
    losses: Callable[[int], Iterator[Sequence[LossPart]]],
    measure: Callable[[], Mapping[str, Any]],
    data: object,
    described: Mapping[str, Any],
    has_dropout: bool = True,
) -> Training:
    """Take the steps that are left.

    Parameters
    ----------
    losses : number of steps taken → what computes the loss of each of the others.
    measure : what is noted of the model before the first step.
    data : what is learnt from and held out, in order: what is resumed goes on with no other.
    described : what is noted of the texts.
    has_dropout : whether the model trains as such, and not as it is run.

    Raises
    ------
    KeyboardInterrupt : after the step that was under way; the state is saved.
    UsageError : the loss is no number any more, or the data are not those that training began with.
    StorageError : the disk does not take the state.
    """
    folder.keep_data(data)
    training, record = Training(model, schedule_of(spec)), folder.record
    saved = folder.read_state()
    if saved is not None:
        training.restore(*saved)
    else:
        record |= {
            "parameters": sum(p.numel() for p in model.parameters()),
            "trained_parameters": training.num_trained,
            **described,
            "train_seconds": 0.0,
            "before": measure(),
        }
        folder.write_record()

    def save() -> None:
        folder.save_state(training.state(), training.curve)
        folder.write_record()
        draw_losses(spec, training, folder)

    left = losses(training.num_steps)
    model.train(has_dropout)
    take_gradient_steps(training, left, spec.seed, record, save, spec.save_every, on_step)
    model.eval()
    return training


def take_gradient_steps(
    training: Training,
    losses: Iterator[Sequence[LossPart]],
    seed: int,
    record: dict[str, Any],
    save: Callable[[], None],
    save_every: int,
    on_step: OnStep | None,
) -> None:
    """Take the steps that the schedule has left; the record is told the seconds.

    Parameters
    ----------
    losses : what computes the loss of each of them.
    save : keeps where the training stands.

    Raises
    ------
    KeyboardInterrupt : after the step that was under way; the state is saved.
    UsageError : the loss is no number any more.
    """
    started, before = time.monotonic(), record.get("train_seconds", 0.0)

    def take(step: int) -> float:
        # Dropout is a function of the step, so that what is resumed goes on as it would.
        torch.manual_seed(seed * 1_000_003 + step)
        loss = training.step(next(losses))
        if not math.isfinite(loss):
            raise UsageError(
                f"the loss of step {step + 1} is no number; a smaller learning_rate helps"
            )
        return loss

    def keep() -> None:
        record["train_seconds"] = round(before + time.monotonic() - started, 1)
        save()

    left = range(training.num_steps, training.schedule.num_steps)
    take_steps(left, take, keep, save_every, on_step)


def last_loss(training: Training) -> float:
    """The mean loss of the last steps."""
    last = training.curve[-20:]
    return sum(last) / len(last)


def draw_losses(spec: SupervisedSpec, training: Training, folder: TrainingFolder) -> None:
    """Draw the loss of every step, and of what is held out."""
    record = folder.record
    held_out = {
        steps: record[when]["held_out_loss"]
        for when, steps in (("before", 0), ("after", spec.steps))
        if record.get(when)
    }
    folder.draw(spec.name, training.curve, held_out)
