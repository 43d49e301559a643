"""Parse JSON files strictly, with the position in the file in every error.

In addition to Python's ``json``, it rejects files that

- are larger than ``MAX_BYTES`` or nested deeper than ``MAX_DEPTH`` levels;
- cannot be decoded (``archon.spec.encoding``), or contain a NUL byte or an unpaired surrogate;
- repeat a key in an object;
- contain ``NaN``, an infinity, or a number longer than ``MAX_DIGITS`` characters.

Parsing takes time linear in the size of the file. No function is recursive, so deep nesting cannot
overflow Python's stack.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from archon.errors import MAX_COLLECTED, SpecError, together
from archon.spec.encoding import decode_text, position_after, read_bytes
from archon.spec.messages import json_path, shown

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64
MAX_DIGITS = 300

JsonPath = tuple[str | int, ...]

# A string, even an unclosed one, is a single match. Brackets inside it are therefore not counted,
# and no text is scanned twice.
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_json(path: Path, file: str | None = None) -> Any:
    """Return the data in a JSON file.

    Parameters
    ----------
    file
        Name of the file in error messages; by default, its path.

    Raises
    ------
    SpecError
        The file cannot be read, or its content is not strict JSON.
    """
    file = str(path) if file is None else file
    return decode_json(read_bytes(path, file, MAX_BYTES + 1), file)


def decode_json(content: bytes, file: str | None = None, *, max_bytes: int = MAX_BYTES) -> Any:
    """Return the data that the bytes of a JSON file represent.

    Raises
    ------
    SpecError
        The content is not strict JSON.
    """
    if len(content) > max_bytes:
        raise SpecError(f"is larger than {max_bytes // 2**20} MiB", file=file)
    text = decode_text(content, file)
    nul = text.find("\0")
    if nul >= 0:
        place = position_after(text[:nul])
        reason = f"contains a NUL byte at {place}; is it UTF-16? Save it as UTF-8"
        raise SpecError(reason, file=file)
    if not text.strip():
        raise SpecError("the file is empty", file=file)
    _check_depth(text, file)
    return _parse_text(text, file)


def walk(data: Any, file: str | None = None) -> Iterator[tuple[JsonPath, Any]]:
    """Yield (path, value) for every value in nested data, in order, with objects before their
    values.

    Raises
    ------
    SpecError
        The data is nested deeper than ``MAX_DEPTH``, which includes data that contains itself.
    """
    stack: list[tuple[JsonPath, Any]] = [((), data)]
    while stack:
        path, value = stack.pop()
        if len(path) > MAX_DEPTH:
            raise _too_deep(file, path)
        yield path, value
        if isinstance(value, dict):
            stack.extend(((*path, key), child) for key, child in reversed(value.items()))
        elif isinstance(value, list):
            last = len(value) - 1
            stack.extend(((*path, last - i), child) for i, child in enumerate(reversed(value)))


def _check_depth(text: str, file: str | None) -> None:
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        first = text[match.start()]
        if first in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise _too_deep(file, place=position_after(text[: match.start()]))
        elif first in "]}":
            depth -= 1


def _too_deep(file: str | None, path: JsonPath | None = None, place: str = "") -> SpecError:
    reason = f"is nested deeper than {MAX_DEPTH} levels" + (f" at {place}" if place else "")
    return SpecError(reason, file=file, path=None if path is None else json_path(path[:4]) + "…")


@dataclass(frozen=True, slots=True)
class _Fault:
    """Placeholder for an invalid value in parsed data, until the path of the value is known."""

    reason: str
    key: str | None = None


def _parse_text(text: str, file: str | None) -> Any:
    """Parse JSON.

    The hooks of Python's parser do not know the path of a value, so they return a ``_Fault`` for an
    invalid one. The paths of all faults are found afterwards.
    """
    faults: list[_Fault] = []

    def fault(reason: str, key: str | None = None) -> _Fault:
        faults.append(_Fault(reason, key))
        return faults[-1]

    def number(literal: str, convert: type[int] | type[float]) -> int | float | _Fault:
        if len(literal) > MAX_DIGITS:
            return fault(f"a number with {len(literal)} characters; the limit is {MAX_DIGITS}")
        value = convert(literal)
        return value if math.isfinite(value) else fault(f"the number {literal} is too large")

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Fault:
        data = dict(pairs)
        if len(data) == len(pairs):
            return data
        repeated, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        return fault(f"the key {shown(repeated)} is repeated", repeated)

    try:
        data = json.loads(
            text,
            object_pairs_hook=members,
            parse_int=lambda literal: number(literal, int),
            parse_float=lambda literal: number(literal, float),
            parse_constant=lambda name: fault(f"{name} is not JSON"),
        )
    except json.JSONDecodeError as error:
        raise SpecError(_syntax_error(error), file=file) from None
    if (faults or _SURROGATE_ESCAPE.search(text)) and (
        errors := list(islice(_errors(data, file), MAX_COLLECTED))
    ):
        raise together(errors)
    return data


def _syntax_error(error: json.JSONDecodeError) -> str:
    message = "more text after the value" if error.msg == "Extra data" else error.msg
    message = message[0].lower() + message[1:].removesuffix(" at")
    return f"invalid JSON: {message} at line {error.lineno} column {error.colno}"


def _errors(data: Any, file: str | None) -> Iterator[SpecError]:
    for path, value in walk(data, file):
        if isinstance(value, _Fault):
            place = path if value.key is None else (*path, value.key)
            yield SpecError(value.reason, file=file, path=json_path(place))
        texts = [value] if isinstance(value, str) else value if isinstance(value, dict) else []
        if any(_SURROGATE.search(text) for text in texts):
            yield SpecError("contains an unpaired surrogate", file=file, path=json_path(path))
