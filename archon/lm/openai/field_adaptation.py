"""Adapt requests to servers that reject some fields.

Servers and gateways report a rejected field as a ``param`` with a code, as the ``loc`` of a
validation error, or in a sentence that quotes the field. A field counts as rejected only if the
error also says that it is unknown or unsupported. Errors about values, such as one that is too
large, do not count.

If ``seed`` or ``stream_options`` is rejected, the client omits it. If ``max_tokens`` is rejected,
the client sends ``max_completion_tokens`` instead. If both are rejected, it sends neither. In all
of these cases, a note is added to every sample. The rejection of any other field is an error,
because omitting the field would change the results.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from archon.lm.openai.server_errors import RejectedFieldError
from archon.spec.model import OpenAICard


@dataclass(frozen=True, slots=True)
class Adaptation:
    """Changes to a card's requests because its server rejects some fields."""

    max_tokens_field: str | None
    """Field for the maximum number of tokens; None if it is omitted."""
    omitted: frozenset[str] = frozenset()
    """Fields to omit in addition to those in the card's ``omit``."""

    def without(self, field: str) -> Adaptation | None:
        """Return the adaptation that also avoids ``field``, or None if this is not possible."""
        if field in ("seed", "stream_options"):
            return replace(self, omitted=self.omitted | {field})
        if field == "max_tokens":
            return replace(self, max_tokens_field="max_completion_tokens")
        if field == "max_completion_tokens":
            return replace(self, max_tokens_field=None)
        return None

    def changes(self, card: OpenAICard) -> list[tuple[str, str]]:
        """Return each change as a pair: a note, and the card key that makes it permanent."""
        effects = {
            "seed": "samples are not reproducible",
            "stream_options": "streamed samples may lack token counts",
        }
        changes = [
            (f"the server rejects {field!r}, so it is not sent: {effects[field]}", _omit(field))
            for field in sorted(self.omitted)
        ]
        if self.max_tokens_field is None:
            reason = "the server rejects 'max_tokens', so it is not sent: texts may be longer"
            changes.append((reason, _omit("max_tokens")))
        elif self.max_tokens_field != card.max_tokens_field:
            reason = f"the server rejects 'max_tokens', so {self.max_tokens_field!r} is sent"
            changes.append((reason, f'"max_tokens_field": "{self.max_tokens_field}"'))
        return changes


def _omit(field: str) -> str:
    return f'"omit": ["{field}"]'


def initial_adaptation(card: OpenAICard) -> Adaptation:
    """Return the adaptation to use until the server rejects a field."""
    return Adaptation(None if "max_tokens" in card.omit else card.max_tokens_field)


# ------------------------------------------------------------------- reading the server's error

_REJECTION = re.compile(
    r"unsupported|not (?:yet )?support|(?:does|do|is|are)(?:n't| not) (?:currently )?"
    r"(?:support|accept|allow|permit|recogni|a valid)|unknown|unrecogni[sz]ed|unexpected|"
    r"extra (?:inputs|fields|keys?)|extraneous|extra_forbidden|value_error\.extra|"
    r"additional propert|not (?:permitted|allowed|accepted|recogni[sz]ed|available)|"
    r"cannot find field|no such (?:field|parameter)|invalid (?:field|parameter|argument) name|"
    r"unknown name|incompatible|only the default|unavailable|not enabled|cannot both|deprecated|"
    r"invalid (?:param(?:eter)?|field|argument):|response_format\.type|"
    r"only (?:one (?:completion )?choice|n ?= ?1\b)|"
    r"\bn['\"`]? ?: number must be at most 1\b",
    re.IGNORECASE,
)
_ABOUT_VALUE = re.compile(
    r"too (?:large|long|high|big|small|low|many)|at most|at least|maximum|exceed|less than|"
    r"greater than|out of range|must be between",
    re.IGNORECASE,
)
_ABOUT_FIELD = re.compile(
    r"unsupported[_ ](?:param|field|arg)|unknown|unrecogni[sz]ed|extra", re.IGNORECASE
)
_OF_N = re.compile(
    r"only one (?:completion )?choice|\bn ?(?:=|==|>|!=) ?1\b|"
    r"\bn['\"`]? ?: number must be at most 1\b",
    re.IGNORECASE,
)
"""Matches errors that reject ``n`` because the server returns only one choice per request."""
_ALLOWED = re.compile(
    r"(?<![a-z])(?<!not )(?:allowed|supported|valid|accepted|permitted|known|available) "
    r"(?:param(?:eter)?s|fields|arguments|keys|names|properties)(?: are| include)?:[^.;]*",
    re.IGNORECASE,
)
"""Matches the list of accepted fields in an error, such as ``Allowed fields: model, messages``."""
_EXPLICIT = (
    r"(?:(?:param(?:eter)?|field|argument) not supported[^:'\"]*:|"
    r"(?:unknown|unsupported|unrecogni[sz]ed|unexpected|invalid|extra|not support)[a-z]* "
    r"(?:request |keyword |input )?(?:param(?:eter)?|field|argument|key|property)s?"
    r"(?: supplied)?:?) ?['\"`\[(]*{}(?![A-Za-z0-9_])"
)
_NO_ARGUMENT = re.compile("unexpected keyword argument", re.IGNORECASE)
_WORD = r"(?<![A-Za-z0-9_]){}(?![A-Za-z0-9_])"
_QUOTED = r"""['"`\[(]{}['"`\])]"""
_PLAIN_ENGLISH = frozenset({"stop", "n", "reasoning"})
"""Fields whose names are English words. They count as rejected only if the error quotes them."""


def rejected_field(content: bytes, sent: Collection[str]) -> str | None:
    """Return the request field that an error reply rejects, or None if it rejects no field.

    Parameters
    ----------
    content
        Body of the error reply.
    sent
        Fields of the request.

    >>> error = b'{"error": {"message": "Unsupported parameter: \\'seed\\'"}}'
    >>> rejected_field(error, ["model", "seed", "max_tokens"])
    'seed'
    >>> rejected_field(b'{"error": {"message": "max_tokens is too large"}}', ["max_tokens"])
    """
    text = content.decode("utf-8", "replace")
    if _REJECTION.search(text) is None:
        return None
    if "n" in sent and _OF_N.search(text) is not None:
        return "n"
    if _ABOUT_VALUE.search(text) is not None and _ABOUT_FIELD.search(text) is None:
        return None
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        data = None
    named = {*_named(data)} & {*sent}
    if len(named) == 1:
        return named.pop()
    text = _ALLOWED.sub("", text.replace("\\", ""))
    text = re.sub("response format", "response_format", text, flags=re.IGNORECASE)
    text = text.replace("response_format.type", "response_format")
    for pattern, fields in (
        (_EXPLICIT, {*sent}),
        (_QUOTED, {*sent}),
        (_WORD, {*sent} - _PLAIN_ENGLISH),
    ):
        positions = {
            field: found.start()
            for field in fields
            if (found := re.search(pattern.format(re.escape(field)), text, re.IGNORECASE))
        }
        if positions:
            return min(positions, key=positions.__getitem__)
    return None


_ALWAYS_SENT = frozenset({"model", "messages", "prompt", "stream"})


def rejected_field_error(reason: str, content: bytes, body: bytes) -> RejectedFieldError | None:
    """Return an error if a reply rejects a field of the request body; otherwise return None."""
    field = rejected_field(content, json.loads(body).keys() - _ALWAYS_SENT)
    return None if field is None else RejectedFieldError(reason, field=field)


def is_unknown_argument(content: bytes) -> bool:
    """Return True if an error quotes Python's ``TypeError`` about an unexpected argument.

    Some servers pass request fields to a function, and report unknown fields this way.
    """
    return _NO_ARGUMENT.search(content.decode("utf-8", "replace")) is not None


def _named(data: Any, depth: int = 6) -> list[str]:
    """Return every field that an error reply names under ``param`` or at the end of ``loc``."""
    found: list[str] = []
    if isinstance(data, dict):
        if isinstance(data.get("param"), str):
            found.append(data["param"])
        loc = data.get("loc")
        if isinstance(loc, list) and loc and isinstance(loc[-1], str):
            found.append(loc[-1])
        data = list(data.values())
    if isinstance(data, list) and depth:
        for item in data:
            found += _named(item, depth - 1)
    return found
