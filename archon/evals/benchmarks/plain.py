"""Convert the values of data frames and data sets to plain JSON data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from archon.spec.encoding import without_marks

_MAX_DEPTH = 20


def is_missing(value: object) -> bool:
    """Return whether a cell is empty: None, NaN, or text without a visible character."""
    if isinstance(value, str):
        return not without_marks(value).strip()
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def plain(value: Any, depth: int = 0) -> Any:
    """Return a value as plain data, as ``json`` reads it; missing values become None.

    Arrays become lists, times become text in ISO format, and what has no JSON form is left out of
    objects and becomes None elsewhere.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth > _MAX_DEPTH or is_missing(value):
        return None
    if isinstance(value, Mapping):
        return {str(name): plain(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner, depth + 1) for inner in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "tolist"):  # arrays and numbers of numpy
        return plain(value.tolist(), depth + 1)
    return str(value) if type(value).__name__ in ("Decimal", "UUID", "Fraction") else None


def whole_numbers(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Restore integers in columns that pandas converted to floats because a value is missing."""
    names = dict.fromkeys(name for row in rows for name in row)
    for name in names:
        values = [row.get(name) for row in rows]
        numbers = [value for value in values if value is not None]
        if len(numbers) < len(values) and all(
            isinstance(value, float) and value.is_integer() for value in numbers
        ):
            for row, value in zip(rows, values, strict=True):
                row[name] = None if value is None else int(value)
    return list(rows)
