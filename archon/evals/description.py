"""What a run is a run of: the architecture, the benchmark, the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from archon.evals.benchmarks import Selection
from archon.graph.architecture import Answer
from archon.spec.architecture import ArchitectureRef, ArchitectureSpec
from archon.spec.model import ModelCard
from archon.types import Question


class Answerer(Protocol):
    """What is evaluated: an ``Architecture``, or a double of one."""

    @property
    def name(self) -> str: ...

    @property
    def spec(self) -> ArchitectureSpec: ...

    @property
    def cards(self) -> Mapping[str, ModelCard | None]:
        """Role → the card of its model; None for a program's own and for an architecture."""
        ...

    async def answer(self, question: Question, *, seed: int = 0, run: int = 0) -> Answer: ...


def description(architecture: Answerer, selection: Selection) -> dict[str, Any]:
    """All that a run depends on but its seed and epochs, as plain data for ``run.json``."""
    return {
        "architecture": architecture.spec.model_dump(mode="json"),
        "models": {
            role: None if card is None else card.model_dump(mode="json")
            for role, card in architecture.cards.items()
        },
        "benchmark": selection.card.model_dump(mode="json"),
        "split": selection.split,
        "limit": selection.limit,
        "data": None if selection.data is None else str(selection.data),
        **_circumstances(),
    }


def headings(architecture: Answerer, selection: Selection) -> dict[str, Any]:
    """The fields of a ``Report`` that say what was evaluated on what."""
    return {
        "architecture": architecture.name,
        "benchmark": selection.card.name,
        "split": selection.split,
        "scorer": selection.card.score,
        "limit": selection.limit,
        "models": _model_names(architecture),
    }


def _circumstances() -> dict[str, Any]:
    """When, where and with which versions a run was made."""
    packages = ("archon-inference", "torch", "reasoning-gym", "datasets")
    return {
        "start_time": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()}
        | {package: version for package in packages if (version := _version(package))},
        "machine": {
            "platform": platform.platform(),
            "processor": platform.machine(),
            "cpus": os.cpu_count(),
        },
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _model_names(architecture: Answerer) -> dict[str, str | None]:
    names: dict[str, str | None] = {}
    for role, card in architecture.cards.items():
        declared = architecture.spec.models.get(role)
        nested = declared.architecture if isinstance(declared, ArchitectureRef) else None
        names[role] = nested if card is None else card.name
    return names
