"""From plain data to a spec: pydantic validates, and its errors are told in our words.

pydantic names a place by a tuple in which keys and indices are mixed with the tags of unions. The
tuple is followed through the data, and what leads nowhere there was a tag.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from archon.errors import MAX_COLLECTED, SpecError, together
from archon.spec.messages import json_path, shown, suggestion
from archon.spec.secrets import without_keys, without_secrets
from archon.spec.strict_json import walk

T = TypeVar("T")
Clean = Callable[[str], str]
"""Masks what must not be printed."""

_MAX_READ = 4096
_KEYS_OF_SERVERS = frozenset({"backend", "base_urls", "api_key_env", "api_key"})


def parse(model_class: type[T], data: Any, file: str | None = None) -> T:
    """``data`` as a value of ``model_class``, a pydantic model; ``file`` is its name in errors.

    Raises
    ------
    SpecError
        The data breaks the schema; its ``errors`` are all faults.
    """
    return validate(TypeAdapter(model_class), data, file)


def validate(adapter: TypeAdapter[T], data: Any, file: str | None = None) -> T:
    """``parse`` for a type adapter, which a union needs."""
    try:
        return adapter.validate_python(data, strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False)
    clean = without_secrets if _may_hold_secrets(data) else without_keys
    faults = [
        SpecError(clean(_reason(detail, clean)), file=file, path=_path(detail, data, clean))
        for detail in details[:MAX_COLLECTED]
    ]
    raise together(faults)


def _may_hold_secrets(data: Any) -> bool:
    """Whether the data holds the card of a model on a server, in which a key may be pasted."""
    try:
        return any(
            isinstance(value, dict)
            and not _KEYS_OF_SERVERS.isdisjoint(value)
            and value.get("backend") not in ("local", "scripted")
            for _, value in walk(data)
        )
    except SpecError:  # it is nested too deep to be looked through
        return True


# ---------------------------------------------------------------------------------------- places


def _path(detail: ErrorDetails, data: Any, clean: Clean) -> str:
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
    return json_path(clean(part) if isinstance(part, str) else part for part in parts)


def _leads_on(here: Any, step: object) -> bool:
    if isinstance(here, dict):
        return step in here
    return isinstance(here, Sequence) and isinstance(step, int) and step < len(here)


# --------------------------------------------------------------------------------------- reasons


def _reason(detail: ErrorDetails, clean: Clean) -> str:
    value, context = _shown(detail["input"], clean), detail.get("ctx", {})
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
            return f"unknown {name} {_shown(tag, clean)}" + _options(tag, context["expected_tags"])
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


def _shown(value: object, clean: Clean) -> str:
    # Masked before it is shortened: the beginning of a key no longer looks like one.
    return shown(clean(value[:_MAX_READ]) if isinstance(value, str) else value)


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
