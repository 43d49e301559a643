"""Constraints after free text, for servers: a judge argues freely and ends with a constrained line.

The local engine generates free text, and forces the label when few tokens remain. Server protocols
cannot express this. Therefore, the request contains one of two constraints:

- a regular expression for the complete text; or
- the JSON schema of an object with the argument and the constrained value. The client assembles
  the text from this object.

If the sample reaches ``max_tokens`` first, its last line is missing, just as it would be without a
constraint.
"""

from __future__ import annotations

import json
import re
from itertools import permutations
from typing import Any

from archon.types import Constraint

_ARGUMENT = "argument"


def whole_pattern(constraint: Constraint) -> str:
    """Return a regular expression for the complete text: any lines, then the constrained line.

    >>> from archon.types import FreeText
    >>> whole_pattern(Constraint(regex="yes|no", after=FreeText("Verdict:", 20)))
    '(?:(?:.|\\\\n)*\\\\n)?Verdict: (?:yes|no)'
    """
    orders = _orders(constraint)
    pattern = constraint.regex if orders is None else "|".join(map(_escaped, orders))
    return rf"(?:(?:.|\n)*\n)?{_escaped(_label(constraint))} (?:{pattern})"


def wrapping_schema(constraint: Constraint) -> dict[str, Any]:
    """Return the schema of an object with the argument and the value that follows the label."""
    choices = _orders(constraint) or _literals(constraint.regex or "")
    value = {"enum": choices} if choices else {"pattern": f"^(?:{constraint.regex})$"}
    key = _key(constraint)
    return {
        "type": "object",
        "properties": {_ARGUMENT: {"type": "string"}, key: {"type": "string", **value}},
        "required": [_ARGUMENT, key],
        "additionalProperties": False,
    }


def unwrapped(constraint: Constraint, text: str) -> str:
    """Assemble the text from a JSON object that follows ``wrapping_schema``.

    Raises
    ------
    ValueError
        ``text`` is not such an object.
    """
    try:
        data = json.loads(text)
        argument, value = data[_ARGUMENT], data[_key(constraint)]
    except (RecursionError, LookupError, TypeError) as error:
        raise ValueError("the argument or the constrained value is missing") from error
    if not (isinstance(argument, str) and isinstance(value, str)):
        raise ValueError("the argument and the constrained value must be strings")
    return "\n".join(filter(None, (argument.strip("\n"), f"{_label(constraint)} {value}")))


def _label(constraint: Constraint) -> str:
    assert constraint.after is not None
    return constraint.after.label


def _key(constraint: Constraint) -> str:
    return _label(constraint).rstrip(":").lower()


def _orders(constraint: Constraint) -> list[str] | None:
    items = constraint.order_of
    return None if items is None else [*map(" > ".join, permutations(items))]


def _literals(regex: str) -> list[str] | None:
    """Return the alternatives of a regular expression without operators other than ``|``.

    For any other regular expression, return None. Example: ``yes|no`` → ``["yes", "no"]``.
    """
    parts = regex.split("|")
    texts = [re.sub(r"\\(.)", r"\1", part) for part in parts]
    return texts if [*map(re.escape, texts)] == parts else None


def _escaped(text: str) -> str:
    """Escape only metacharacters; not every server accepts the other escapes of ``re.escape``."""
    return re.sub(r"([\\^$.|?*+()\[\]{}])", r"\\\1", text)
