"""Read a short text as an answer, such as a name."""

from __future__ import annotations

import re
import unicodedata

from archon.answers import turns
from archon.answers.marks import stated_texts

_MAX_TEXT = 100_000
_BEFORE_TEXT = re.compile(r"\A(?:[\s*_`\"'“”\u2018\u2019$:!,;]|\\[(\[]|\.(?![0-9]))*+")
_AFTER_TEXT = " \t\r\n*_`\"'“”\u2018\u2019$.!,;:"
_LATEX_END = re.compile(r"\\[)\]]\Z")


def read_text(text: str) -> str | None:
    """Return the stated text or, without one, the beginning of the model's turn, normalized."""
    text = turns.own_turn(text)
    return _stated(text) or normalized_text(text[:_MAX_TEXT]) or None


def read_stated_text(text: str) -> str | None:
    """Return the text that the model states as its answer, normalized, or None."""
    return _stated(turns.own_turn(text))


def _stated(text: str) -> str | None:
    return next(filter(None, map(normalized_text, stated_texts(text))), None)


def normalized_text(text: str) -> str:
    """Return a text without case, character width, extra white space and outer punctuation."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = " ".join(folded.replace("\u2212", "-").split()).rstrip(_AFTER_TEXT)
    folded = _BEFORE_TEXT.sub("", folded, count=1)
    return _LATEX_END.sub("", folded).rstrip(_AFTER_TEXT)
