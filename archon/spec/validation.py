"""From plain data to a spec: pydantic validates, and its errors are told in our words.

pydantic names a place by a tuple in which keys and indices are mixed with the tags of unions. The
tuple is followed through the data, and what leads nowhere there was a tag.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from archon.errors import MAX_COLLECTED, SpecError, together
from archon.spec.messages import json_path, shown, suggestion

T = TypeVar("T")


def parse(model_class: type[T], data: Any, file: str | None = None) -> T:
    """``data`` as a value of ``model_class``, a pydantic model; ``file`` is its name in errors.

    Raises
    ------
    SpecError : the data breaks the schema; its ``errors`` are all faults.
    """
    return validate(TypeAdapter(model_class), data, file)


def validate(adapter: TypeAdapter[T], data: Any, file: str | None = None) -> T:
    """``parse`` for a type adapter, which a union needs."""
    try:
        return adapter.validate_python(data, strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False)
    faults = [
        SpecError(_reason(detail), file=file, path=_path(detail, data))
        for detail in details[:MAX_COLLECTED]
    ]
    raise together(faults)


# ---------------------------------------------------------------------------------------- places


def _path(detail: ErrorDetails, data: Any) -> str:
    """The JSON path of an error: its location in the data, without the tags of unions."""
    location = detail["loc"]
    parts: list[object] = []
    here = data
    for step in location:
        if _leads_on(here, step):
            parts.append(step)
            here = here[step]
    match detail["type"]:
        case "missing":
            parts.append(location[-1])
        case "unknown_key":
            key = detail["ctx"]["key"]
            if not _leads_on(here, key):  # the last step was a tag that is also an unknown key
                parts.pop()
            parts.append(key)
        case "union_tag_invalid" | "union_tag_not_found":
            parts.append(_quoted(detail["ctx"]["discriminator"])[0])
    return json_path(parts)


def _leads_on(here: Any, step: object) -> bool:
    if isinstance(here, dict):
        return step in here
    return isinstance(here, Sequence) and isinstance(step, int) and step < len(here)


# --------------------------------------------------------------------------------------- reasons


def _reason(detail: ErrorDetails) -> str:
    value, context = shown(detail["input"]), detail.get("ctx", {})
    match detail["type"]:
        case "missing":
            return "is missing"
        case "unknown_key":
            return str(context["reason"])
        case "value_error":
            return str(context["error"])
        case "union_tag_not_found":
            return "is missing"
        case "union_tag_invalid":
            name = _quoted(context["discriminator"])[0]
            given = detail["input"]
            tag = given.get(name) if isinstance(given, dict) else context["tag"]
            return f"unknown {name} {shown(tag)}" + _options(tag, context["expected_tags"])
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


def _options(name: object, listed: str) -> str:
    """The valid names, which pydantic gives as one text, and the nearest of them."""
    options = _quoted(listed)
    hint = suggestion(name, options)
    if len(options) > 1 and "did you mean" in hint:
        return f"{hint} (one of {', '.join(map(repr, options))})"
    return hint


def _quoted(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text)


def _plain(message: str) -> str:
    """pydantic's sentence with the place as its subject."""
    for opening in ("Input should ", "String should ", "List should ", "Keys should "):
        if message.startswith(opening):
            rest = message.removeprefix(opening)
            return "must " + rest.replace("a valid ", "a ").replace("a integer", "an integer")
    return message[0].lower() + message[1:]
