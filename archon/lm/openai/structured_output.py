"""Forms that close a text, for servers: a judge argues freely, and its last line has a form.

The local engine lets a text go free and puts the label where the room ends. No server's protocol
can say that, so what is sent is either a regular expression of the whole text, or a JSON schema of
an object with the argument and what follows the label, from which the text is put together. Where
the tokens run out first the last line is missing, as it is where the form is asked for in words.
"""

from __future__ import annotations

import json
import re
from itertools import permutations
from typing import Any

from archon.types import Constraint

MAX_ORDERED = 5
"""Items of an order at most: each order is written out, and 5 have 120."""
_ARGUMENT = "argument"


def can_close(form: Constraint) -> bool:
    """Whether a server can be told of a form behind free text."""
    return form.json_schema is None and len(form.order_of or ()) <= MAX_ORDERED


def whole_pattern(form: Constraint) -> str:
    """A regular expression of the whole text: any lines, and the one that closes it.

    >>> from archon.types import FreeText
    >>> whole_pattern(Constraint(regex="yes|no", after=FreeText("Verdict:", 20)))
    '(?:(?:.|\\\\n)*\\\\n)?Verdict: (?:yes|no)'
    """
    orders = _orders(form)
    pattern = form.regex if orders is None else "|".join(map(_escaped, orders))
    return rf"(?:(?:.|\n)*\n)?{_escaped(_label(form))} (?:{pattern})"


def wrapping_schema(form: Constraint) -> dict[str, Any]:
    """The schema of an object with the argument first, and then what follows the label."""
    choices = _orders(form) or _literals(form.regex or "")
    what = {"enum": choices} if choices else {"pattern": f"^(?:{form.regex})$"}
    key = _key(form)
    return {
        "type": "object",
        "properties": {_ARGUMENT: {"type": "string"}, key: {"type": "string", **what}},
        "required": [_ARGUMENT, key],
        "additionalProperties": False,
    }


def unwrapped(form: Constraint, text: str) -> str:
    """The text that such an object stands for.

    Raises
    ------
    ValueError : it is no such object.
    """
    try:
        data = json.loads(text)
        argument, closing = data[_ARGUMENT], data[_key(form)]
    except (RecursionError, LookupError, TypeError) as error:
        raise ValueError("no argument, or nothing that closes it") from error
    if not (isinstance(argument, str) and isinstance(closing, str)):
        raise ValueError("not text")
    return "\n".join(filter(None, (argument.strip("\n"), f"{_label(form)} {closing}")))


def _label(form: Constraint) -> str:
    assert form.after is not None
    return form.after.label


def _key(form: Constraint) -> str:
    return _label(form).rstrip(":").lower()


def _orders(form: Constraint) -> list[str] | None:
    return None if form.order_of is None else [*map(" > ".join, permutations(form.order_of))]


def _literals(regex: str) -> list[str] | None:
    """The texts that a regular expression lists, where it does nothing else."""
    parts = regex.split("|")
    texts = [re.sub(r"\\(.)", r"\1", part) for part in parts]
    return texts if [*map(re.escape, texts)] == parts else None


def _escaped(text: str) -> str:
    """``re.escape`` for every dialect: nothing is escaped that need not be."""
    return re.sub(r"([\\^$.|?*+()\[\]{}])", r"\\\1", text)
