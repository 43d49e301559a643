"""Choices of a row, and the ways in which data sets name the right one.

A right choice is named by its text, its letter or label, its index from 0, its number from 1, or a
list with a flag for each choice. Which of these a data set means is decided from all rows together:
an answer ``2`` alone could be an index, a number or a text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any, NamedTuple, get_args

from archon.errors import SpecError
from archon.evals.benchmarks.plain import is_missing
from archon.spec.benchmark import ChoiceAnswer
from archon.spec.encoding import without_marks
from archon.spec.messages import shown

MAX_CHOICES = len(ascii_uppercase)
_PREFIX = re.compile(r"\s*(?:\(([A-Z])\)|([A-Z])[).:])\s*")
_AROUND_LETTER = " \t().:[]"


class ChoiceRow(NamedTuple):
    """The choices of a row, and its answer as the row has it."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    """The names of the choices in the row, such as letters; by default A, B and so on."""
    answer: Any
    place: str
    """The row's location for error messages."""


def choice_row(offered: Any, answer: Any, place: str) -> ChoiceRow:
    """Read the choices of a row.

    Parameters
    ----------
    offered
        A list of texts; an object ``{"text": [...], "label": [...]}``; an object from labels to
        texts; or a list of objects with ``text`` and ``label``.

    Raises
    ------
    SpecError
        There are fewer than two choices, more than 26, or one is empty.
    """
    labels: list[str] = []
    if isinstance(offered, Mapping):
        if "text" in offered:
            labels = [str(label) for label in offered.get("label") or ()]
            offered = offered["text"]
        else:
            filled = {str(k): v for k, v in offered.items() if not is_missing(v)}
            labels, offered = list(filled), list(filled.values())
    elif isinstance(offered, list) and all(isinstance(v, Mapping) for v in offered):
        labels = [str(v["label"]) for v in offered if "label" in v]
        offered = [v.get("text") for v in offered]
    if not isinstance(offered, list) or not 2 <= len(offered) <= MAX_CHOICES:
        reason = f"the choices must be a list of 2 to {MAX_CHOICES} texts, not {shown(offered)}"
        raise SpecError(reason, file=place)
    if any(is_missing(text) or not isinstance(text, str | int | float) for text in offered):
        raise SpecError("a choice is empty or is not a text", file=place)
    texts = [without_marks(str(text)).strip() for text in offered]
    if len(labels) != len(texts):
        labels = list(_letters(len(texts)))
    return ChoiceRow(_without_letters(texts), tuple(labels), answer, place)


def _letters(number: int) -> tuple[str, ...]:
    return tuple(ascii_uppercase[:number])


def _without_letters(texts: list[str]) -> tuple[str, ...]:
    """Remove letters such as "A)" if all choices begin with their own."""
    prefixes = [_PREFIX.match(text) for text in texts]
    if all(
        match is not None and (match[1] or match[2]) == letter and match.end() < len(text)
        for match, letter, text in zip(prefixes, ascii_uppercase, texts, strict=False)
    ):
        return tuple(
            text[match.end() :] for text, match in zip(texts, prefixes, strict=True) if match
        )
    return tuple(texts)


def right_letters(row: ChoiceRow, how: ChoiceAnswer) -> tuple[str, ...]:
    """Return the letters of the right choices of a row: A is its first choice.

    Raises
    ------
    SpecError
        The answer names no choice in this way.
    """
    found = _positions(row, how)
    if not found:
        ways = {"letter": f"one of {', '.join(row.labels)}", "text": "the text of a choice"}
        meant = ways.get(how, f"the {how} of one of the {len(row.texts)} choices")
        meant = "a list of 0 and 1 for the choices" if how == "flags" else meant
        raise SpecError(f"the answer {shown(row.answer)} is not {meant}", file=row.place)
    return tuple(ascii_uppercase[position] for position in found)


def answers_are(rows: Sequence[ChoiceRow]) -> ChoiceAnswer:
    """Decide from all rows how their answers name the right choices.

    Raises
    ------
    SpecError
        No way fits all rows; or two ways fit and mean different choices, so that the card has to
        say which is meant.
    """
    ways: dict[ChoiceAnswer, list[list[int]]] = {}
    for how in get_args(ChoiceAnswer):
        positions = []
        for row in rows:
            found = _positions(row, how)
            if not found:
                break
            positions.append(found)
        else:
            ways[how] = positions
    if not ways:
        row = next((row for row in rows if not _fits(row)), rows[0])
        reason = (
            f"the answer {shown(row.answer)} is neither the letter nor the position nor the text"
        )
        raise SpecError(f"{reason} of a choice", file=row.place)
    first = next(iter(ways))
    if all(positions == ways[first] for positions in ways.values()):
        return first
    if "flags" in ways:
        return "flags"
    if "letter" in ways and any(row.labels != _letters(len(row.labels)) for row in rows):
        return "letter"  # the data names its choices itself
    if ways.keys() == {"index", "number"}:  # no answer is 0, and none names the last choice
        return "index"
    are_texts = all(isinstance(row.answer, str) for row in rows)
    if are_texts and "text" in ways and "letter" not in ways:
        return "text"
    raise SpecError(
        f"the answer {shown(rows[0].answer)} could be {' or '.join(f'the {how}' for how in ways)} "
        "of a choice; write a benchmark card with 'answer_as' in its 'fields'",
        file=rows[0].place,
    )


def _fits(row: ChoiceRow) -> bool:
    return any(_positions(row, how) for how in get_args(ChoiceAnswer))


def _positions(row: ChoiceRow, how: ChoiceAnswer) -> list[int]:
    """Return the positions of the right choices, in ascending order; empty if there are none."""
    answers = row.answer if isinstance(row.answer, list) else [row.answer]
    if how == "flags":
        if len(answers) != len(row.texts) or any(flag not in (0, 1) for flag in answers):
            return []
        return [position for position, flag in enumerate(answers) if flag == 1]
    found = [_position(row, answer, how) for answer in answers]
    return sorted({p for p in found if p is not None}) if None not in found else []


def _position(row: ChoiceRow, answer: Any, how: ChoiceAnswer) -> int | None:
    if is_missing(answer) or isinstance(answer, bool):
        return None
    text = without_marks(str(answer)).strip()
    match how:
        case "text":
            return _place_of(text, row.texts)
        case "letter":
            exact = _place_of(text, row.labels)
            return _place_of(text.strip(_AROUND_LETTER), row.labels) if exact is None else exact
        case _:
            number = _whole(text)
            position = -1 if number is None else number - (how == "number")
            return position if 0 <= position < len(row.texts) else None


def _place_of(text: str, options: Sequence[str]) -> int | None:
    """Return the position of the only option that equals a text, if need be ignoring case."""
    for key in (str, str.casefold):
        found = [i for i, option in enumerate(options) if key(option) == key(text)]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _whole(text: str) -> int | None:
    """Return the integer that a cell contains, also written as ``3.0``."""
    match = re.fullmatch(r"(\d{1,3})(?:\.0+)?", text)
    return None if match is None else int(match[1])
