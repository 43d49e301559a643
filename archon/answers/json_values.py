r"""Read the JSON value that a text gives as its answer.

This is the last fenced block that is JSON or, if there is none, the last outermost object or array
in the text, or the complete text. The canonical form has sorted keys, no spaces, and canonical
numbers, so that ``{"b": 1.0, "a": "x"}`` and ``{"a":"x","b":1}`` are the same value.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from archon.answers.code_blocks import find_blocks
from archon.answers.numerals import canonical_number

_MAX_BLOCKS = 20
_OPENING = re.compile(r"\{\s{0,40}[\"}]|\[\s{0,40}[\[{\"\]0-9tfn-]")
_COUNTED_PER_READ = 50
"""Characters whose line breaks an error of ``json`` counts in the time in which it reads one."""
_SURROGATE = re.compile("[\ud800-\udfff]")


class _Number(str):
    """The canonical form of a number in JSON."""


def read_json(text: str) -> str | None:
    """Return the canonical form of the last JSON value in the model's turn, or None."""
    blocks = find_blocks(text)
    for block in blocks[: -_MAX_BLOCKS - 1 : -1]:
        value = _canonical(block.body)
        if value is not None:
            return value
    complete = _canonical(text)
    return _last_enclosed(text) if complete is None else complete


def read_target_json(text: str) -> str | None:
    """Return the canonical form of a text that is JSON, or None."""
    return _canonical(text)


def _canonical(text: str) -> str | None:
    try:
        return _dumped(_DECODER.decode(text.strip()))
    except (ValueError, RecursionError):
        return None


def _last_enclosed(text: str) -> str | None:
    """Return the last object or array that is not inside another one.

    Attempts that fail may cost up to four times the text's length in total, which keeps the time
    linear for text such as ``{"{"{"``.
    """
    last, start, num_left = "", 0, 4 * len(text)
    while num_left > 0 and (opening := _OPENING.search(text, start)):
        start = opening.start() + 1
        try:
            _, start = _FINDER.raw_decode(text, opening.start())
        except json.JSONDecodeError as error:
            num_left -= error.pos - opening.start() + error.pos // _COUNTED_PER_READ + 1
        except RecursionError:
            break
        else:
            last = text[opening.start() : start]
    return _canonical(last)


def _number(literal: str) -> _Number:
    value = canonical_number(literal)
    if value is None:
        raise ValueError("the number is too long or out of range")
    return _Number(value)


def _no_number(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is not JSON")


_FINDER = json.JSONDecoder(parse_int=str, strict=False)
"""Finds JSON. It reads no integers, because Python rejects those with many digits."""
_DECODER = json.JSONDecoder(
    parse_int=_number, parse_float=_number, parse_constant=_no_number, strict=False
)


def _dumped(value: Any) -> str:
    """Return a decoded value in canonical form."""
    match value:
        case _Number():
            return str(value)
        case str():
            return json.dumps(value, ensure_ascii=_SURROGATE.search(value) is not None)
        case list():
            return f"[{','.join(map(_dumped, value))}]"
        case dict():
            return (
                f"{{{','.join(f'{_dumped(key)}:{_dumped(value[key])}' for key in sorted(value))}}}"
            )
        case _:
            return json.dumps(value)
