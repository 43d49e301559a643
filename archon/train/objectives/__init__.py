"""Objectives: one module per kind of training, named in ``archon.train.registry``.

A module has ``open_objective(spec, start)``, which returns an ``archon.train.trainer.Objective``,
and ``report(record)``, which returns the lines that the command prints after a training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from archon.train.registry import TRAININGS
from archon.train.report_lines import Line
from archon.train.trainer import Objective, Start


class ObjectiveModule(Protocol):
    """The functions of each module."""

    def open_objective(self, spec: Any, start: Start) -> Objective: ...

    def report(self, record: Mapping[str, Any]) -> Iterator[Line]: ...


def objective_module(training: str) -> ObjectiveModule:
    """The module of a kind of training, imported now."""
    return cast(ObjectiveModule, import_module(TRAININGS[training].module))
