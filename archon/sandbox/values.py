"""Convert and check values returned by the sandbox.

The interpreter returns copies that have Python's built-in types and contain no code of the program.
They may be huge or deeply nested, or contain the same list a million times, so every function that
traverses them has a limit.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

MAX_DEPTH = 100
MAX_DIGITS = 4300
"""Maximum number of digits in an integer. This is Python's own limit for printing integers
(``sys.get_int_max_str_digits``)."""

_TIMES = (datetime.date, datetime.datetime, datetime.time, datetime.timedelta)
_PRINTABLE = (Decimal, bytes, complex, *_TIMES)
_SCALARS = frozenset([type(None), bool, int, float, str, *_PRINTABLE])
_CONTAINERS = frozenset([list, tuple, set, frozenset, dict])


class UnfitValueError(Exception):
    """A value is too large or too deeply nested; the message names the limit."""


def as_json(value: object, max_bytes: int) -> Json:
    """Convert a value to plain JSON data.

    Tuples become lists, sets become sorted lists, and keys become strings. Numbers that JSON does
    not support (``nan``, decimal and complex numbers), dates and bytes become strings. Any other
    value becomes its name, or the name of its type, in angle brackets.

    Raises
    ------
    UnfitValueError
        The value has more than ``max_bytes`` bytes, more than ``MAX_DEPTH`` levels of nesting, or
        an integer with more than ``MAX_DIGITS`` digits.
    """
    return _Converter(max_bytes).convert(value, 0)


class _Converter:
    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = self._bytes_left = max_bytes

    def convert(self, value: object, depth: int) -> Json:
        if depth > MAX_DEPTH:
            raise UnfitValueError(f"the value has more than {MAX_DEPTH} levels of nesting")
        if isinstance(value, (list, tuple)):
            return self._list(value, depth)
        if isinstance(value, (set, frozenset)):
            return _sorted(self._list(value, depth))
        if isinstance(value, dict):
            self._count(2)
            return {
                self._text(_text_of(key)): self.convert(item, depth + 1)
                for key, item in value.items()
            }
        return self._scalar(value)

    def _list(self, items: Iterable[object], depth: int) -> list[Json]:
        self._count(2)
        return [self.convert(item, depth + 1) for item in items]

    def _scalar(self, value: object) -> Json:
        if value is None or isinstance(value, bool):
            self._count(4)
            return value
        if isinstance(value, int):
            self._count(len(_text_of(value)))
            return value
        if isinstance(value, float) and math.isfinite(value):
            self._count(8)
            return value
        return self._text(_text_of(value))

    def _text(self, text: str) -> str:
        self._count(2 + len(text.encode(errors="replace")))
        return text

    def _count(self, size: int) -> None:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise UnfitValueError(f"the value has more than {self._max_bytes:,} bytes")


def _text_of(value: object) -> str:
    """Return a non-container value as text; raise an error for a huge integer."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and value.bit_length() > MAX_DIGITS * math.log2(10):
        raise UnfitValueError(f"the value is an integer with more than {MAX_DIGITS} digits")
    if value is None or isinstance(value, (int, float, *_PRINTABLE)):
        return str(value)
    name = getattr(value, "name", None)
    return f"<{name if isinstance(name, str) else type(value).__name__}>"


def _sorted(items: list[Json]) -> list[Json]:
    """Sort numbers by size, followed by all other items sorted by their text."""
    numbers = [item for item in items if isinstance(item, (int, float))]
    others = [item for item in items if not isinstance(item, (int, float))]
    return [*sorted(numbers), *sorted(others, key=str)]


def is_plain(value: object) -> bool:
    """Return True if a value consists only of built-in Python types, without subclasses.

    Such a value contains no code of the program that created it.
    """
    seen: set[int] = set()
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        if type(item) not in _CONTAINERS:
            if type(item) not in _SCALARS:
                return False
        elif id(item) not in seen:
            seen.add(id(item))
            waiting.extend(item)
            if isinstance(item, dict):
                waiting.extend(item.values())
    return True


def is_function(value: object) -> bool:
    """Return True if a value was a function in the sandbox.

    The interpreter returns a function as the text ``<function …``.
    """
    return isinstance(value, str) and value.startswith("<function ")
