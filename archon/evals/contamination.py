"""Warnings about models that were trained on the data of a benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def training_warnings(specification: Mapping[str, Any]) -> list[str]:
    """Return a warning for each model whose card says that it was trained on the benchmark.

    Parameters
    ----------
    specification
        The ``specification`` of a run's description.
    """
    benchmark = specification["benchmark"]
    names = {name.casefold() for name in _names(benchmark)}
    trained = {
        model["name"]
        for model in _cards(specification["models"])
        if any(name.casefold() in names for name in model.get("trained_on") or ())
    }
    return [
        f"the card of {model} says that it was trained on {benchmark['name']}; the accuracy may be "
        "higher than on new questions"
        for model in sorted(trained)
    ]


def _names(benchmark: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names under which a model card may mention a benchmark."""
    yield benchmark["name"]
    hub = (benchmark.get("source") or {}).get("huggingface")
    if hub:
        yield hub["repo"]


def _cards(models: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the cards of all models, including those of nested architectures."""
    for model in models.values():
        if model is None:
            continue
        if "name" in model:
            yield model
        yield from _cards(model.get("models") or {})
