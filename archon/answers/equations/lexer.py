"""Lexer that splits a normalized text into words, numbers and signs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from archon.answers.characters import OPAQUE
from archon.answers.equations.in_place import FRACTION
from archon.answers.equations.vocabulary import OPERATORS

MAX_DIGITS = 60
"""Maximum number of characters in a number; longer numbers become ``opaque`` tokens."""
PARAGRAPH = "\n\n"
"""The text of a ``newline`` token at an empty line."""


class Token(NamedTuple):
    """A token of the text.

    ``glued`` is True if no white space precedes the token. ``money`` is True if a currency precedes
    it. The kinds are ``number``, ``word``, ``operator``, ``relation``, ``open``, ``close``,
    ``percent``, ``power`` (``^`` or a superscript), ``fraction``, ``newline``, ``stop`` (a sign
    that ends a clause), ``opaque`` (cannot be parsed, and neither can the numbers next to it) and
    ``end``.
    """

    kind: str
    text: str
    start: int
    end: int
    glued: bool = False
    money: bool = False


END = Token("end", "", -1, -1)
"""The token that is returned for positions before the first or after the last one."""
_ATTACHED = (
    "kg|km|cm|mm|mg|ml|mL|lb|lbs|oz|ft|hr|hrs|min|mins|sec|mph|am|pm|AM|PM|st|nd|rd|th|k|cents"
)
_NUMBER = r"""
    (?: [0-9]{1,3}(?:(?:,|\{,\}|\\[,!;]|[\u00a0\u2009\u202f])[0-9]{3})++(?![0-9])
      | [0-9]{1,2}(?:,[0-9]{2}(?=,))++,[0-9]{3}(?![0-9])
      | [0-9]++ )
    (?:\.[0-9]++)?+ (?:[eE][-+]?[0-9]{1,2}(?![0-9]))?+
    | (?<![\w.])\.[0-9]++
"""
_TOKEN = re.compile(
    rf"""
      (?P<newline>\n\s*+)
    | (?P<space>[^\S\n]++|`++|&(?![&])|\\[,!;])
    | (?P<number>(?:{_NUMBER})
        (?= [^\w.,:] | \Z | (?:{_ATTACHED})\b | [xX][0-9] | [.,:](?![0-9]) | [²³¼½¾] ))
    | (?P<vulgar>[¼½¾⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])
    | (?P<opaque>[0-9]\w*+(?:[.,:]\w++)*+ | [√{OPAQUE}~@\\!±…∞°] | \.\.++ | // | %%)
    | (?P<stop>==+|!=|<=|>=|=>|->|:=|[+*/%-]=|[.,;:?#<>⇒—"•])
    | (?P<relation>=~|~=|[=≈])
    | (?P<currency>[$€£¥₹¢]++|(?<![^\W_])(?:US\$|USD|EUR|GBP|INR|Rs\.?)[ ]?(?=[0-9.]))
    | (?P<times>(?<=[0-9\s)}}\]%])[xX](?=(?:[ ]-|[ ]?)[\\$€£¥₹]?[0-9.({FRACTION}]))
    | (?P<power>\*\*|\^|[²³])
    | (?P<word>[^\W\d_][\w']*+(?:-[^\W\d_]\w*+)*+ | _\w++)
    | (?P<hyphen>(?<=[0-9])-(?=[A-Za-z]))
    | (?P<operator>[-+*/])
    | (?P<open>[(\[{{]) | (?P<close>[)\]}}])
    | (?P<percent>%)
    | (?P<fraction>{FRACTION})
    | (?P<other>.)
    """,
    re.X,
)
_LEADING_ZERO = re.compile(r"0[0-9]")
_SUPERSCRIPTS = {"²": "2", "³": "3"}


def tokens_of(text: str) -> Iterator[Token]:
    """Yield the tokens of a normalized text, skipping white space, backticks and currencies."""
    last_end, money_end, money_glued = 0, -1, False
    for match in _TOKEN.finditer(text):
        kind, piece = match.lastgroup or "other", match.group()
        start, end = match.span()
        if kind == "space":
            continue
        glued = money_glued if start == money_end else start == last_end
        is_money, last_end = start == money_end, end
        if kind == "currency":
            money_end, money_glued = end, glued
        elif kind != "hyphen":
            kind, piece = _read(kind, piece)
            yield Token(kind, piece, start, end, glued, is_money)


def _read(kind: str, piece: str) -> tuple[str, str]:
    """Return a token's kind and normalized text, given the match of the pattern."""
    if kind == "number":
        readable = len(piece) <= MAX_DIGITS and not _LEADING_ZERO.match(piece)
        return ("number" if readable else "opaque"), piece
    if kind == "word":
        return _read_word(piece.lower())
    if kind == "newline":
        return kind, PARAGRAPH if piece.count("\n") > 1 else "\n"
    if kind == "power":
        return kind, _SUPERSCRIPTS.get(piece, "^")
    if kind == "times":
        return "operator", "*"
    return {"vulgar": "number", "other": "stop"}.get(kind, kind), piece


def _read_word(word: str) -> tuple[str, str]:
    if word in ("percent", "percents"):
        return "percent", "%"
    if word in OPERATORS:
        return "operator", OPERATORS[word]
    return "word", word
