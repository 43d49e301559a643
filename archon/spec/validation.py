"""Validate data with pydantic, and convert its errors to reworded ``SpecError`` exceptions.

pydantic gives the location of an error as a tuple of keys and indices, mixed with the tags of
unions. To get the JSON path, the tuple is followed through the data, and elements that do not occur
there are dropped as tags.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from archon.errors import MAX_COLLECTED, SpecError, together
from archon.spec.messages import json_path, shown, suggestion
from archon.spec.secrets import mask_known_keys, mask_secrets
from archon.spec.strict_json import walk

T = TypeVar("T")
Mask = Callable[[str], str]
"""Function that replaces secrets in a text."""

_MAX_READ = 4096
_SERVER_CARD_KEYS = frozenset({"backend", "base_urls", "api_key_env", "api_key"})


def parse(model_class: type[T], data: Any, file: str | None = None) -> T:
    """Validate data with a pydantic model, and return the model's value.

    Parameters
    ----------
    file
        Name of the file in error messages.

    Raises
    ------
    SpecError
        The data does not match the schema. The ``errors`` attribute lists all errors.
    """
    return validate(TypeAdapter(model_class), data, file)


def validate(adapter: TypeAdapter[T], data: Any, file: str | None = None) -> T:
    """Validate data as ``parse`` does, but with a type adapter, which unions need."""
    try:
        return adapter.validate_python(data, strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False)
    mask = mask_secrets if _may_contain_secrets(data) else mask_known_keys
    raise together(
        [
            SpecError(mask(_reason(detail, mask)), file=file, path=_path(detail, data, mask))
            for detail in details[:MAX_COLLECTED]
        ]
    )


def _may_contain_secrets(data: Any) -> bool:
    """Return True if the data contains a card for a server, where users may paste a key."""
    try:
        return any(
            isinstance(value, dict)
            and not _SERVER_CARD_KEYS.isdisjoint(value)
            and value.get("backend") not in ("local", "scripted")
            for _, value in walk(data)
        )
    except SpecError:  # the data is nested too deeply to be searched
        return True


def _path(detail: ErrorDetails, data: Any, mask: Mask) -> str:
    """Return an error's JSON path, which is its location without union tags."""
    location = detail["loc"]
    parts: list[object] = []
    here = data
    for step in location:
        if _has(here, step):
            parts.append(step)
            here = here[step]
    match detail["type"]:
        case "missing":
            parts.append(location[-1])
        case "unknown_key":
            key = detail["ctx"]["key"]
            if not _has(here, key):  # the last step was a tag that is also an unknown key
                parts.pop()
            parts.append(key)
        case "unknown_node_type":
            parts.append("type")
        case "union_tag_invalid" | "union_tag_not_found":
            parts.append(_quoted(detail["ctx"]["discriminator"])[0])
    return json_path(mask(part) if isinstance(part, str) else part for part in parts)


def _has(container: Any, step: object) -> bool:
    if isinstance(container, dict):
        return step in container
    return isinstance(container, Sequence) and isinstance(step, int) and step < len(container)


def _reason(detail: ErrorDetails, mask: Mask) -> str:
    value, context = _shown(detail["input"], mask), detail.get("ctx", {})
    match detail["type"]:
        case "missing" | "union_tag_not_found":
            return "is missing"
        case "unknown_key" | "unknown_node_type":
            return str(context["reason"])
        case "value_error":
            return str(context["error"])
        case "union_tag_invalid":
            name = _quoted(context["discriminator"])[0]
            found = detail["input"]
            tag = found.get(name) if isinstance(found, dict) else context["tag"]
            return f"unknown {name} {_shown(tag, mask)}" + _options(tag, context["expected_tags"])
        case "literal_error":
            return f"unknown value {value}" + _options(detail["input"], context["expected"])
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"must be an object, not {value}"
        case "too_short":
            return f"must have at least {context['min_length']} item(s), not {len(detail['input'])}"
        case "too_long":
            return f"must have at most {context['max_length']} items, not {len(detail['input'])}"
        case _:
            subject = "the key " if detail["loc"][-1:] == ("[key]",) else ""
            return f"{subject}{_plain(detail['msg'])}, not {value}"


def _shown(value: object, mask: Mask) -> str:
    # Mask before shortening, because the beginning of a key may not be recognized as a key.
    return shown(mask(value[:_MAX_READ]) if isinstance(value, str) else value)


def _options(name: object, listed: str) -> str:
    """Return a hint with the valid names. ``listed`` is pydantic's list of them, as one string."""
    options = _quoted(listed)
    hint = suggestion(name, options)
    if len(options) > 1 and "did you mean" in hint:
        return f"{hint} (one of {', '.join(map(repr, options))})"
    return hint


def _quoted(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text)


def _plain(message: str) -> str:
    """Reword a pydantic message so that the JSON path is its subject.

    For example, "Input should be a valid string" becomes "must be a string".
    """
    for opening in ("Input should ", "String should ", "List should ", "Keys should "):
        if message.startswith(opening):
            rest = message.removeprefix(opening)
            return "must " + rest.replace("a valid ", "a ").replace("a integer", "an integer")
    return message[0].lower() + message[1:]
