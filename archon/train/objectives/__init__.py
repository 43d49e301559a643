"""Objectives, with one module per kind of training (listed in ``archon.train.registry``).

Each module defines ``open_objective(spec, start)``, which returns an
``archon.train.trainer.Objective``, and ``report(record)``, which yields the lines that the command
prints when a training run is finished.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from archon.train.registry import TRAININGS
from archon.train.report_lines import Line
from archon.train.trainer import Objective, Start


class ObjectiveModule(Protocol):
    """Functions that every objective module defines."""

    def open_objective(self, spec: Any, start: Start) -> Objective: ...

    def report(self, record: Mapping[str, Any]) -> Iterator[Line]: ...


def objective_module(training: str) -> ObjectiveModule:
    """Import and return the objective module of a kind of training, such as ``sft``."""
    return cast(ObjectiveModule, import_module(TRAININGS[training].module))
