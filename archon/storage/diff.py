"""Where two pieces of plain data differ, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from archon.spec.messages import shown

_ABSENT = object()


def differences(there: Any, wanted: Any, path: str = "$") -> Iterator[str]:
    """One sentence for each place that differs, named by its JSON path.

    >>> list(differences({"a": {"b": 8}, "c": [1]}, {"a": {"b": 4}, "c": [1]}))
    ['$.a.b: 8 there, 4 now']
    """
    if isinstance(there, dict) and isinstance(wanted, dict):
        for key in dict.fromkeys([*there, *wanted]):
            place = f"{path}.{key}"
            yield from differences(there.get(key, _ABSENT), wanted.get(key, _ABSENT), place)
    elif isinstance(there, list) and isinstance(wanted, list) and len(there) == len(wanted):
        for index, (one, other) in enumerate(zip(there, wanted, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif there is not wanted and there != wanted:
        yield f"{path}: {_told(there)} there, {_told(wanted)} now"


def _told(value: Any) -> str:
    return "nothing" if value is _ABSENT else shown(value)
