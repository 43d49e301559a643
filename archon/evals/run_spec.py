"""The description of a run (``run.json``): architecture, benchmark, items, machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from archon.answers import READING_VERSION
from archon.evals.benchmarks import Item, Selection
from archon.evals.scorers import scorer_label
from archon.evals.scorers.registry import card_scorers
from archon.graph.answer import Answer
from archon.plugins.identity import plugin_digests
from archon.spec.messages import json_path
from archon.spec.scoring import scorer_name
from archon.types import AnswerKind, Example, Question

VERSION = 1
"""Version of the ``run.json`` format."""

IDENTITY = ("version", "specification", "items", "epochs")
"""The keys of a description that must be equal for a run to be resumed. More items may be added at
the end (``archon.evals.growth``)."""
COMMAND, COMPARISON = "command", "comparison"
"""Keys of the command that asks the rest of a run (``archon.cli.stored_command``), and of the
comparison that the run belongs to. They are not part of the identity."""


class Answerer(Protocol):
    """The interface of an ``Architecture`` that evaluations need; tests use fakes."""

    @property
    def name(self) -> str: ...

    def specification(
        self, answer: AnswerKind, examples: tuple[Example, ...] | None, ending: bool = True
    ) -> Mapping[str, Any]:
        """Return nodes, models and prompts as plain data (``Architecture.specification``)."""
        ...

    async def answer(self, question: Question, *, seed: int = 0, run: int = 0) -> Answer: ...


@runtime_checkable
class HasWeights(Protocol):
    """An ``Answerer`` that knows the weights of its models."""

    def weights_digests(self, opened: Collection[str] = ()) -> Mapping[str, str]:
        """Return the digests of the weights of open models (``Architecture.weights_digests``)."""
        ...


def description(
    architecture: Answerer,
    selection: Selection,
    items: Sequence[Item],
    *,
    seed: int,
    epochs: int,
    examples: tuple[Example, ...] | None,
    by: Sequence[str] = (),
    reads_rows: bool = False,
) -> dict[str, Any]:
    """Return the description of a run, as plain data for ``run.json``.

    ``reads_rows`` is true if a scorer reads the other columns of the items' rows, such as tests.
    They are then part of the items' digest.

    Its ``specification`` key contains everything that determines an answer, except the item and
    epoch. The digest of the specification is part of every record's identity.
    """
    asked = _asked(architecture, selection, examples)
    specification = {
        **asked,
        **_with_scorers(asked, selection),
        "benchmark": selection.card.identity(),
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
            "digest": items_digest(items, reads_rows),
            **({"with_rows": True} if reads_rows else {}),
        },
        "limit": selection.limit,
        "epochs": epochs,
        **({"by": list(by)} if by else {}),
        "data": None if selection.data is None else str(selection.data),
        **_circumstances(),
    }


def _asked(
    architecture: Answerer, selection: Selection, examples: tuple[Example, ...] | None
) -> Mapping[str, Any]:
    """Return the architecture's specification for the questions of a benchmark."""
    card = selection.card
    if card.ending:
        return architecture.specification(card.answer, examples)
    return architecture.specification(card.answer, examples, ending=False)


def _with_scorers(asked: Mapping[str, Any], selection: Selection) -> dict[str, Any]:
    """Return the digests of plug-ins: those of the architecture, and of the scorers."""
    scorers = plugin_digests(
        ("scorer", scorer_name(choice)) for choice in card_scorers(selection.card)
    )
    found = {**asked.get("plugins", {}), **scorers.get("plugins", {})}
    return {"plugins": found} if found else {}


def items_digest(items: Sequence[Item], with_rows: bool = False) -> str:
    """Return the digest of the items of a run, in order, with the other columns of their rows."""
    return _digest([_item_identity(item, with_rows) for item in items])


def _item_identity(item: Item, with_rows: bool) -> list[Any]:
    """Return what identifies an item. Most items have one target, as all had in earlier runs."""
    identity: list[Any] = [item.id, item.question, item.target]
    if len(item.targets) > 1 or item.choices:
        identity += [list(item.targets), list(item.choices)]
    if with_rows:
        identity.append(dict(item.metadata))
    return identity


def headings(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``Report`` columns that depend only on the run's description."""
    specification = run["specification"]
    benchmark = specification["benchmark"]
    return {
        "architecture": specification["architecture"]["name"],
        "benchmark": benchmark["name"],
        "split": run["items"]["split"],
        "scorer": scorer_label(benchmark["score"]),
        "answer": benchmark.get("answer", "number"),
        "limit": run["limit"],
        "epochs": run["epochs"],
        "seed": specification["seed"],
        "models": {role: _name(model) for role, model in specification["models"].items()},
    }


def _name(model: Mapping[str, Any] | None) -> str | None:
    """Return a model's name: the architecture's name if the model is one, else the card's."""
    if model is None:
        return None
    return str(model["name"] if "name" in model else model["architecture"]["name"])


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:32]


def _circumstances() -> dict[str, Any]:
    """Return the current time, package versions, and facts about the machine."""
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


@cache
def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


# The parts of ``run.json`` that readers of a run use, validated when it is read.


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)


class _Architecture(_Part):
    name: str
    nodes: dict[str, Any]


class _Benchmark(_Part):
    name: str
    score: str | dict[str, Any] | list[str | dict[str, Any]]
    answer: str = "number"


class _Named(_Part):
    name: str


class _Nested(_Part):
    architecture: _Named


class _Specification(_Part):
    architecture: _Architecture
    benchmark: _Benchmark
    models: dict[str, _Named | _Nested | None]
    seed: int


class _Items(_Part):
    split: str
    count: int = Field(ge=0)


class _Run(_Part):
    specification: _Specification
    weights: dict[str, str] = Field({})
    items: _Items
    epochs: int = Field(ge=1)
    limit: int | None


def fault(data: object) -> str | None:
    """Return the first error in a description, as ``JSON PATH: REASON``; None if it is valid."""
    try:
        _Run.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{json_path(first['loc'])}: {first['msg'].lower()}"
    return None
