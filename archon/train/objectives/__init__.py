"""Objectives: one module per kind of training, named in ``archon.train.registry``.

A module has ``open_objective(spec, start)``, which returns an ``archon.train.trainer.Objective``,
and ``report(record)``, which returns the lines that the command prints after a training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import torch

from archon.evals.run import Run
from archon.spec.model import LocalCard
from archon.spec.training import SampledReplies
from archon.train.folder import TrainingFolder
from archon.train.registry import TRAININGS
from archon.train.trainer import Objective

Line = tuple[str, str | None]
"""A line of a report, and its style: ``bold``, ``dim``, ``yellow`` for warnings, or None."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a training starts from, besides its configuration."""

    base_dir: Path
    """Where relative paths in the configuration start."""
    folder: TrainingFolder
    device: torch.device
    pull_card: Callable[[str], tuple[LocalCard, Path]]
    """The card that the configuration names, its weights downloaded, and the card's folder."""
    sample_replies: Callable[[SampledReplies], Run]
    """Runs an architecture on a benchmark, in a folder inside the training's own."""


class ObjectiveModule(Protocol):
    """The functions of each module."""

    def open_objective(self, spec: Any, start: Start) -> Objective: ...

    def report(self, record: Mapping[str, Any]) -> Iterator[Line]: ...


def objective_module(training: str) -> ObjectiveModule:
    """The module of a kind of training, imported now."""
    return cast(ObjectiveModule, import_module(TRAININGS[training].module))
