"""Read the number that a text gives as its answer."""

from __future__ import annotations

from archon.answers import statements, turns
from archon.answers.characters import OPAQUE
from archon.answers.last_number import last_number
from archon.answers.numerals import normalize, sole_number

_SENTENCE_ENDS = (". ", ".\n", "! ", "? ", "\n")


def read_number(text: str, *, is_truncated: bool = False) -> str | None:
    """Return the number in the model's turn.

    The turn ends at the first possible end with an answer before it. If that answer is not stated
    explicitly, a line such as ``Question: …`` may be part of the turn. In this case, the value is
    None unless the number is the same with and without the text from that line on.
    """
    text = normalize(text)
    value_of_all, _ = _number_of(text, is_truncated=is_truncated)
    for turn_end in turns.ends(text):
        value, is_stated = _number_of(text[: turn_end.position])
        if is_stated:
            return value
        if value is not None:
            return value if turn_end.is_certain or value == value_of_all else None
    return value_of_all


def _number_of(text: str, *, is_truncated: bool = False) -> tuple[str | None, bool]:
    """Return (the number in a text, whether the text states it explicitly), ignoring turns."""
    found = statements.stated_number(text + OPAQUE if is_truncated else text)
    if found.is_stated:
        return found.value, True
    if is_truncated:
        end = max(text.rfind(sentence_end) for sentence_end in _SENTENCE_ENDS) + 1
        value = last_number(text[:end], found.mentions)
        if value is not None:
            return value, False
        text += OPAQUE
    return last_number(text, found.mentions), False


def read_stated_number(text: str) -> str | None:
    """Return the number that a text states explicitly as its answer, or None."""
    text = normalize(text)
    for turn_end in turns.ends(text):
        found = statements.stated_number(text[: turn_end.position])
        if found.is_stated:
            return found.value
    return statements.stated_number(text).value


def read_target_number(text: str) -> str | None:
    """Return the number that a text is, or that it states as its answer; None if there is none."""
    value = sole_number(text)
    return read_stated_number(text) if value is None else value
