"""The text and the reasoning of a message, or of a part of a streamed one.

Reasoning never belongs to the text. Servers put it beside the content, under one of
``REASONING_KEYS``, or into the content as parts of the type ``thinking``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

REASONING_KEYS = ("reasoning_content", "reasoning", "reasoning_text", "thinking")
"""Several of them repeat one text: the first that holds any is read."""
_DETAILS = "reasoning_details"
_TEXT_PARTS = frozenset({"text", "output_text"})
_REASONING_PARTS = frozenset({"thinking", "reasoning", "reasoning_text"})


class ContentError(ValueError):
    """The content is none that can be read."""


def content_of(value: object) -> tuple[str, str]:
    """The text and the reasoning in the content of a message: a string, null, or a list of parts.

    >>> content_of([{"type": "thinking", "thinking": "2 + 3"}, {"type": "text", "text": "5"}])
    ('5', '2 + 3')
    >>> content_of(["4", {"text": "2"}])
    ('42', '')

    Raises
    ------
    ContentError : it is of another form, or has a part that is neither.
    """
    if value is None:
        return "", ""
    if isinstance(value, str):
        return value, ""
    if not isinstance(value, list):
        raise ContentError("its content is neither text nor a list of parts")
    text, reasoning = "", ""
    for part in value:
        if isinstance(part, str):
            text += part
            continue
        kind = part.get("type") if isinstance(part, dict) else None
        if (kind is None or kind in _TEXT_PARTS) and _has_text(part):
            text += part["text"]
        elif kind in _REASONING_PARTS:
            reasoning += "".join(_texts(part))
        elif kind == "refusal":
            raise ContentError(f"the model refused ({part.get('refusal')})")
        else:
            raise ContentError(f"its content has a part of the type {str(kind)[:40]!r}")
    return text, reasoning


def _has_text(part: object) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)


def reasoning_of(message: Mapping[str, Any]) -> str:
    """The reasoning beside the content; empty where there is none.

    >>> reasoning_of({"content": None, "reasoning_content": "2 + 3", "reasoning": "2 + 3"})
    '2 + 3'
    """
    for key in (*REASONING_KEYS, _DETAILS):
        found = "".join(_texts(message.get(key)))
        if found:
            return found
    return ""


def _texts(value: object, depth: int = 4) -> Iterator[str]:
    """Every text of a value in which objects and lists may hold it; encrypted data is none."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and depth:
        for item in value:
            yield from _texts(item, depth - 1)
    elif isinstance(value, dict) and depth:
        for key in ("text", "thinking", "content", "reasoning", "summary"):
            if value.get(key):
                yield from _texts(value[key], depth - 1)
                return
