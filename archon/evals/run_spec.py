"""What a run is a run of: the architecture, the benchmark, the items, the machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from archon.answers import READING_VERSION
from archon.evals.benchmarks import Item, Selection
from archon.graph.answer import Answer
from archon.types import AnswerKind, Example, Question

VERSION = 1
"""Of the form of ``run.json``."""

IDENTITY = ("version", "specification", "items", "epochs")
"""The parts of a description in which a run that is resumed must be the same."""


class Answerer(Protocol):
    """What is evaluated: an ``Architecture``, or a double of one."""

    @property
    def name(self) -> str: ...

    def specification(
        self, answer: AnswerKind, examples: tuple[Example, ...] | None
    ) -> Mapping[str, Any]:
        """Nodes, models and prompts as plain data, whatever they were resolved from."""
        ...

    async def answer(self, question: Question, *, seed: int = 0, run: int = 0) -> Answer: ...


def description(
    architecture: Answerer,
    selection: Selection,
    items: Sequence[Item],
    *,
    seed: int,
    epochs: int,
    examples: tuple[Example, ...] | None,
) -> dict[str, Any]:
    """All that is asked for in a run, as plain data for ``run.json``.

    ``specification`` holds what an answer depends on, but for the item and the epoch: its digest
    belongs to the identity of every record.
    """
    specification = {
        **architecture.specification(selection.card.answer, examples),
        "benchmark": selection.card.model_dump(mode="json"),
        "seed": seed,
        "reading": READING_VERSION,
    }
    return {
        "version": VERSION,
        "digest": _digest(specification),
        "specification": specification,
        "items": {
            "split": selection.split,
            "count": len(items),
            "digest": _digest([[item.id, item.question, item.target] for item in items]),
        },
        "limit": selection.limit,
        "epochs": epochs,
        "data": None if selection.data is None else str(selection.data),
        **_circumstances(),
    }


def headings(run: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a ``Report`` that say what was evaluated on what.

    Parameters
    ----------
    run : a description.
    """
    specification = run["specification"]
    benchmark = specification["benchmark"]
    return {
        "architecture": specification["architecture"]["name"],
        "benchmark": benchmark["name"],
        "split": run["items"]["split"],
        "scorer": benchmark["score"],
        "answer": benchmark.get("answer", "number"),
        "limit": run["limit"],
        "epochs": run["epochs"],
        "seed": specification["seed"],
        "models": {role: _name(model) for role, model in specification["models"].items()},
    }


def _name(model: Mapping[str, Any] | None) -> str | None:
    """The name of a card, or of an architecture that serves as a model."""
    if model is None:
        return None
    return str(model["name"] if "name" in model else model["architecture"]["name"])


def _digest(data: Any) -> str:
    text = json.dumps(data, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _circumstances() -> dict[str, Any]:
    """When, where and with which versions a run was begun."""
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
