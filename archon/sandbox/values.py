"""Values that come out of the sandbox.

The interpreter hands out copies made of Python's own types, never code of the program, but they
may be huge, deep, or hold one list a million times: nothing here walks or prints them unbounded.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable
from decimal import Decimal
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

MAX_DEPTH = 100
MAX_DIGITS = 4300
"""Of an integer: Python itself prints no more (``sys.get_int_max_str_digits``)."""

_TIMES = (datetime.date, datetime.datetime, datetime.time, datetime.timedelta)
_SHOWN = (Decimal, bytes, complex, *_TIMES)
_SCALARS = frozenset([type(None), bool, int, float, str, *_SHOWN])
_CONTAINERS = frozenset([list, tuple, set, frozenset, dict])


class UnfitValueError(Exception):
    """A value is too large or too deep to be handed on; the text says which."""


def as_json(value: object, max_bytes: int) -> Json:
    """A value as JSON has it.

    Tuples and sets become lists (sets sorted), keys strings, numbers without a place in JSON
    (``nan``, decimals, complex ones), dates and bytes their text, and whatever else there may be
    the name of its type in angle brackets.

    Raises
    ------
    UnfitValueError
        It takes more than ``max_bytes``, or is nested more than ``MAX_DEPTH`` deep.
    """
    return _Converter(max_bytes).convert(value, 0)


class _Converter:
    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = self._room = max_bytes

    def convert(self, value: object, depth: int) -> Json:
        if depth > MAX_DEPTH:
            raise UnfitValueError(f"the value is nested more than {MAX_DEPTH} deep")
        if isinstance(value, (list, tuple)):
            return self._list(value, depth)
        if isinstance(value, (set, frozenset)):
            return _sorted(self._list(value, depth))
        if isinstance(value, dict):
            self._take(2)
            return {
                self._text(_shown(key)): self.convert(item, depth + 1)
                for key, item in value.items()
            }
        return self._scalar(value)

    def _list(self, items: Iterable[object], depth: int) -> list[Json]:
        self._take(2)
        return [self.convert(item, depth + 1) for item in items]

    def _scalar(self, value: object) -> Json:
        if value is None or isinstance(value, bool):
            self._take(4)
            return value
        if isinstance(value, int):
            self._take(len(_shown(value)))
            return value
        if isinstance(value, float) and math.isfinite(value):
            self._take(8)
            return value
        return self._text(_shown(value))

    def _text(self, text: str) -> str:
        self._take(2 + len(text.encode(errors="replace")))
        return text

    def _take(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise UnfitValueError(f"the value takes more than {self._max_bytes:,} bytes")


def _shown(value: object) -> str:
    """The text of a value that is no container; nothing that could be large is printed."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and value.bit_length() > MAX_DIGITS * math.log2(10):
        raise UnfitValueError(f"the value is an integer of more than {MAX_DIGITS} digits")
    if value is None or isinstance(value, (int, float, *_SHOWN)):
        return str(value)
    name = getattr(value, "name", None)
    return f"<{name if isinstance(name, str) else type(value).__name__}>"


def _sorted(items: list[Json]) -> list[Json]:
    """Numbers by size, then the rest by their text."""
    numbers = [item for item in items if isinstance(item, (int, float))]
    others = [item for item in items if not isinstance(item, (int, float))]
    return [*sorted(numbers), *sorted(others, key=str)]


def is_plain(value: object) -> bool:
    """Whether a value consists of Python's own plain types alone, and each of exactly that type.

    Such a value carries no behaviour of the program that made it.
    """
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if type(item) not in _CONTAINERS:
            if type(item) not in _SCALARS:
                return False
        elif id(item) not in seen:
            seen.add(id(item))
            waiting.extend(_parts(item))
    return True


def _parts(container: object) -> Iterable[object]:
    if isinstance(container, dict):
        yield from container.keys()
        yield from container.values()
    else:
        assert isinstance(container, (list, tuple, set, frozenset))
        yield from container


def is_function(value: object) -> bool:
    """Whether a value was a function in the sandbox, which hands out nothing but its text."""
    return isinstance(value, str) and value.startswith("<function ")
