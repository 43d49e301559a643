"""Flat values of configurations and reports, as trackers store them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MAX_TEXT = 500
"""Maximum length of a parameter's value in characters, which every tracker can store."""
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_. /-]")


def parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested data as one level of names with dots. Lists become JSON, long texts are cut.

    >>> parameters({"models": {"solver": "a"}, "seed": 0, "limit": None, "k": [1, 2]})
    {'models.solver': 'a', 'seed': 0, 'limit': 'none', 'k': '[1, 2]'}
    """
    return {name: _scalar(value) for name, value in _leaves(config, ".")}


def numbers(report: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers in a report, with the bounds of intervals as separate metrics.

    >>> numbers({"accuracy": 0.5, "accuracy_interval": [0.4, 0.6], "usage": {"calls": 2}})
    {'accuracy': 0.5, 'accuracy_low': 0.4, 'accuracy_high': 0.6, 'usage/calls': 2.0}
    """
    found: dict[str, float] = {}
    for name, value in _leaves(report, "/"):
        if name.endswith("interval") and isinstance(value, Sequence) and len(value) == 2:
            stem = name.removesuffix("interval")
            found |= _finite({f"{stem}low": value[0], f"{stem}high": value[1]})
        else:
            found |= _finite({name: value})
    return found


def _finite(values: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _leaves(data: Mapping[str, Any], separator: str, start: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        name = start + _NOT_IN_NAMES.sub("_", str(key))
        if isinstance(value, Mapping):
            yield from _leaves(value, separator, name + separator)
        else:
            yield name, value


def _scalar(value: Any) -> Any:
    if value is None:
        return "none"
    if isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
