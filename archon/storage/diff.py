"""Describe the differences between two JSON-like values as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from archon.spec.messages import shown

_ABSENT = object()


def differences(stored: Any, wanted: Any, path: str = "$") -> Iterator[str]:
    """Yield a line of text for each value that differs, with its JSON path.

    >>> list(differences({"a": {"b": 8}, "c": [1]}, {"a": {"b": 4}, "c": [1]}))
    ['$.a.b: 8 stored, 4 now']
    """
    if isinstance(stored, dict) and isinstance(wanted, dict):
        for key in dict.fromkeys([*stored, *wanted]):
            values = stored.get(key, _ABSENT), wanted.get(key, _ABSENT)
            yield from differences(*values, f"{path}.{key}")
    elif isinstance(stored, list) and isinstance(wanted, list) and len(stored) == len(wanted):
        for index, values in enumerate(zip(stored, wanted, strict=True)):
            yield from differences(*values, f"{path}[{index}]")
    elif stored is not wanted and stored != wanted:
        yield f"{path}: {_described(stored)} stored, {_described(wanted)} now"


def _described(value: Any) -> str:
    return "nothing" if value is _ABSENT else shown(value)
