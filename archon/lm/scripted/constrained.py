"""Generate short texts that satisfy a constraint, for the scripted model.

JSON schemas may use ``const``, ``enum``, ``anyOf``, ``oneOf``, local ``$ref``, and the basic types
with their lengths and bounds. Generated objects have only their required properties. Regular
expressions may use literals, classes, groups, alternatives and quantifiers. Everything else is
rejected.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping
from random import Random
from typing import Any

from archon.errors import UnsupportedError
from archon.types import Constraint

_MAX_DEPTH = 40
_MAX_VALUES = 10_000
_MAX_CHARACTERS = 100_000
"""Maximum length of a generated string."""
_SCHEMA_KEYS = frozenset(
    {"type", "const", "enum", "anyOf", "oneOf", "properties", "required", "items", "minItems"}
    | {"maxItems", "minLength", "maxLength", "pattern", "additionalProperties"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
    | {"$ref", "$defs", "definitions", "$schema", "$id"}
    | {"title", "description", "default", "examples"}
)
_ESCAPES = {"d": string.digits, "w": string.ascii_lowercase, "s": " ", "n": "\n", "t": "\t"}


def _unsupported(reason: str) -> UnsupportedError:
    return UnsupportedError(reason, field="constraint")


def conforming_text(constraint: Constraint, number: int) -> str:
    """Return a text that satisfies the constraint, chosen at random with ``number`` as the seed.

    Raises
    ------
    UnsupportedError
        The constraint uses an unsupported feature.
    """
    rng = Random(number)
    if constraint.order_of is not None:
        return " > ".join(rng.sample(constraint.order_of, len(constraint.order_of)))
    if constraint.json_schema is not None:
        try:
            instance = _Schema(constraint.json_schema, rng).instance(constraint.json_schema, 0)
        except (AttributeError, LookupError, TypeError, ValueError):  # not a valid JSON schema
            raise _unsupported("the scripted model cannot satisfy this JSON schema") from None
        return json.dumps(instance, ensure_ascii=False)
    pattern = constraint.regex or ""
    try:
        text = _Pattern(pattern, rng).text()
        if re.fullmatch(pattern, text):
            return text
    except (IndexError, OverflowError, RecursionError, ValueError, re.error):
        pass
    raise _unsupported(f"the scripted model cannot match the regular expression {pattern!r}")


def constrained_reply(constraint: Constraint, reply: str, number: int) -> tuple[str, str]:
    """Split a reply into free text and a constrained end, and make the end satisfy the constraint.

    The free text precedes the constraint's label. It is empty if the constraint applies to the
    complete text. If the text after the label does not satisfy the constraint, it is replaced with
    ``conforming_text``.

    Raises
    ------
    UnsupportedError
        The constraint uses an unsupported feature.
    """
    conforming = conforming_text(constraint, number)
    free, label, rest = "", "", reply
    if constraint.after is not None:
        label = f"{constraint.after.label} "
        free, _, rest = f"\n{reply}".partition(f"\n{label}")
    return free.strip("\n"), label + (rest if _allows(constraint, rest) else conforming)


def _allows(constraint: Constraint, text: str) -> bool:
    """Return True if a text satisfies the constraint. For a JSON schema, always return False."""
    if constraint.regex is not None:
        return re.fullmatch(constraint.regex, text) is not None
    items = constraint.order_of or ()
    return bool(items) and sorted(text.split(" > ")) == sorted(items)


class _Schema:
    """Generates small JSON values that satisfy one JSON schema."""

    def __init__(self, root: Mapping[str, Any], rng: Random) -> None:
        self._root, self._rng = root, rng
        self._num_values = 0

    def instance(self, schema: Any, depth: int) -> Any:
        self._num_values += 1
        if depth > _MAX_DEPTH or self._num_values > _MAX_VALUES:
            raise _unsupported("the JSON schema needs a value too large for the scripted model")
        if schema is True:
            return None
        if not isinstance(schema, Mapping):
            raise _unsupported("the scripted model cannot satisfy this JSON schema")
        unknown = sorted(schema.keys() - _SCHEMA_KEYS)
        if unknown:
            reason = f"the scripted model does not support the JSON schema key {unknown[0]!r}"
            raise _unsupported(reason)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._rng.choice(schema["enum"])
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self.instance(self._rng.choice(schema[key]), depth + 1)
        if "$ref" in schema:
            return self.instance(self._referred(schema["$ref"]), depth + 1)
        return self._typed(schema, depth)

    def _typed(self, schema: Mapping[str, Any], depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "null")
        match kind[0] if isinstance(kind, list) else kind:
            case "object":
                properties = schema.get("properties", {})
                return {
                    name: self.instance(properties.get(name, True), depth + 1)
                    for name in schema.get("required", ())
                }
            case "array":
                item = schema.get("items", True)
                return [self.instance(item, depth + 1) for _ in range(schema.get("minItems", 0))]
            case "string":
                if "pattern" in schema:
                    return conforming_text(Constraint(regex=schema["pattern"]), 0)
                length = max(schema.get("minLength", 0), min(1, schema.get("maxLength", 1)))
                return _repeated("a", length)
            case "integer" | "number":
                return self._number(schema)
            case "boolean":
                return self._rng.random() < 0.5
            case "null":
                return None
        raise _unsupported(f"the scripted model does not support the JSON schema type {kind!r}")

    def _number(self, schema: Mapping[str, Any]) -> Any:
        if "minimum" in schema:
            return schema["minimum"]
        if "exclusiveMinimum" in schema:
            return schema["exclusiveMinimum"] + 1
        high = schema.get("maximum", schema.get("exclusiveMaximum", 1) - 1)
        return min(0, high)

    def _referred(self, reference: str) -> Any:
        target: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/"):
            if not isinstance(target, Mapping) or part not in target:
                raise _unsupported(
                    f"the JSON schema refers to {reference!r}, which does not exist in it"
                )
            target = target[part]
        return target


class _Pattern:
    """Generates a short text that matches a regular expression."""

    def __init__(self, pattern: str, rng: Random) -> None:
        self._pattern, self._at, self._rng = pattern, 0, rng

    def text(self) -> str:
        text = self._alternatives()
        if self._at < len(self._pattern):
            raise ValueError("unbalanced parenthesis")
        return text

    def _alternatives(self) -> str:
        texts = [self._sequence()]
        while self._next() == "|":
            self._at += 1
            texts.append(self._sequence())
        return self._rng.choice(texts)

    def _sequence(self) -> str:
        text = ""
        while self._next() not in ("", "|", ")"):
            text = _repeated(self._item(), self._repeats(), text)
        return text

    def _item(self) -> str:
        character = self._take()
        if character == "(":
            if self._next() == "?":
                self._expect("?:")
            text = self._alternatives()
            self._expect(")")
            return text
        if character == "[":
            return self._rng.choice(self._class())
        if character == "\\":
            escaped = self._take()
            return self._rng.choice(_ESCAPES.get(escaped, escaped))
        if character in "^$":
            return ""
        return "a" if character == "." else character

    def _class(self) -> str:
        """Return the characters of a class such as ``[a-z_]``.

        Negated classes are not supported; the generated text fails the final match.
        """
        characters = ""
        while self._next() != "]":
            first = self._take()
            if first == "\\":
                escaped = self._take()
                characters += _ESCAPES.get(escaped, escaped)
            elif self._next() == "-" and self._next(1) != "]":
                self._at += 1
                characters += "".join(map(chr, range(ord(first), ord(self._take()) + 1)))
            else:
                characters += first
        self._at += 1
        return characters

    def _repeats(self) -> int:
        """Return the minimum of the quantifier at this position, or 1 if there is none."""
        character = self._next()
        if character in ("?", "*", "+"):
            self._at += 1
            return 1 if character == "+" else 0
        if character != "{":
            return 1
        bounds, _, _ = self._pattern[self._at + 1 :].partition("}")
        self._at += len(bounds) + 2
        return int(bounds.split(",")[0] or 0)

    def _next(self, ahead: int = 0) -> str:
        return self._pattern[self._at + ahead : self._at + ahead + 1]

    def _take(self) -> str:
        character = self._pattern[self._at]
        self._at += 1
        return character

    def _expect(self, text: str) -> None:
        if not self._pattern.startswith(text, self._at):
            raise ValueError(f"{text!r} expected")
        self._at += len(text)


def _repeated(item: str, times: int, before: str = "") -> str:
    if len(before) + len(item) * times > _MAX_CHARACTERS:
        raise _unsupported(f"the scripted model generates at most {_MAX_CHARACTERS} characters")
    return before + item * times
