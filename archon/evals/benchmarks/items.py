"""Items of a benchmark, and their division into the *search*, *select* and *test* splits."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import JsonValue

from archon.answers import read_target
from archon.answers.numerals import sole_number
from archon.errors import SpecError
from archon.spec.benchmark import BenchmarkBase
from archon.spec.encoding import without_marks
from archon.spec.messages import shown, suggestion

Split = Literal["search", "select", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

_TENTHS: dict[Split, int] = {"search": 3, "select": 3, "test": 4}


@dataclass(frozen=True, slots=True)
class Item:
    """One question of a benchmark, with its accepted answers."""

    id: str
    question: str
    target: str
    """The first accepted answer: a canonical value (``archon.answers``) or, for a custom scorer,
    the text in the row. Of a question with choices, the letter of a right choice."""
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    """The other columns of the row, as JSON data."""
    targets: tuple[str, ...] = ()
    """All accepted answers as the row writes them; by default only ``target``. Of a question with
    choices, the letters of all right choices: A is the first choice of the row."""
    choices: tuple[str, ...] = ()
    """The texts of the choices, in the order of the row and without letters; empty if there are
    none. They are not part of ``question``."""

    def __post_init__(self) -> None:
        if not self.targets:
            object.__setattr__(self, "targets", (self.target,))


@dataclass(frozen=True, slots=True)
class Selection:
    """The benchmark of a run, and which of its items are used."""

    card: BenchmarkBase
    split: Split = "select"
    limit: int | None = None
    """Maximum number of items, taken from the start of the split; None uses all."""
    data: Path | None = None
    """A JSONL file that replaces the card's source."""


def item_from_row(
    row: Mapping[str, Any],
    card: BenchmarkBase,
    number: str,
    place: str,
    *,
    canonical_target: bool = True,
) -> Item:
    """Convert one row of a data set to an item.

    Parameters
    ----------
    number
        The item's id, used if the card does not name an id field.
    place
        The row's location for error messages, such as file and line.
    canonical_target
        Whether to convert the target to a canonical value. If False, the text in the row is kept.

    Raises
    ------
    SpecError
        A field is missing, is empty or has the wrong type, or no target can be read from the
        answer.
    """
    question = _text(row, card.fields.question, place)
    answer = _text(row, card.fields.answer, place)
    item_id = number if card.fields.id is None else _text(row, card.fields.id, place)
    if not canonical_target:
        return Item(item_id, question, _stated(answer, card))
    named = place if card.fields.id is None else f"{place}: item {shown(item_id)}"
    return Item(item_id, question, _target(answer, card, named))


def _text(row: Mapping[str, Any], name: str, place: str) -> str:
    if name not in row:
        raise SpecError(f"the row has no {shown(name)} field{suggestion(name, row)}", file=place)
    value = row[name]
    if isinstance(value, bool) or not isinstance(value, str | Real) or value != value:
        reason = f"the {shown(name)} field must be a string or a number, not {shown(value)}"
        raise SpecError(reason, file=place)
    text = without_marks(str(value)).strip()
    if not text:
        raise SpecError(f"the {shown(name)} field is empty", file=place)
    return text


def _stated(answer: str, card: BenchmarkBase) -> str:
    """Return the part of a row's answer after the last ``answer_after``, or the complete answer."""
    return answer.rpartition(card.answer_after)[2].strip() if card.answer_after else answer


def _target(answer: str, card: BenchmarkBase, place: str) -> str:
    """Return the canonical value of a row's answer; raise ``SpecError`` if it has none."""
    is_number = card.answer == "number"
    stated = _stated(answer, card)
    if is_number and card.answer_after and card.answer_after not in answer:
        target = sole_number(answer)
        if target is None:
            reason = f"the answer {shown(answer)} neither contains {shown(card.answer_after)}"
            reason += " nor is a single number"
            raise SpecError(reason, file=place)
        return target
    target = read_target(stated, card.answer)
    if target is None:
        reason = f"no {card.answer} can be read from {shown(stated)}"
        raise SpecError(
            f"{reason}{_HINT.format(score=card.score)}" if is_number else reason, file=place
        )
    return target


_HINT = (
    "; {score} needs a target that is one number; compare other targets as text, with "
    "'answer': 'text' and 'score': 'text-exact' in the benchmark"
)


def check_ids(items: Iterable[Item], place: str) -> None:
    """Check that the ids of all items are different.

    Raises
    ------
    SpecError
        Two items have the same id.
    """
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise SpecError(f"two items have the id {shown(item.id)}", file=place)
        seen.add(item.id)


def divide(items: Sequence[Item], splits: Sequence[Split] = SPLITS) -> dict[Split, list[Item]]:
    """Shuffle items, and divide them 3 : 3 : 4 between *search*, *select* and *test*.

    If ``splits`` is given, only these splits are filled. Items with the same question are kept
    together, so that no question is in two splits. The shuffle is fixed and depends only on the
    number of distinct questions.
    """
    by_question: dict[str, list[Item]] = {}
    for item in items:
        by_question.setdefault(item.question, []).append(item)
    questions = list(by_question)
    random.Random(0).shuffle(questions)
    divided: dict[Split, list[Item]] = {}
    total, share, start = sum(_TENTHS[split] for split in splits), 0, 0
    for split in splits:
        share += _TENTHS[split]
        end = (2 * share * len(questions) + total) // (2 * total)
        divided[split] = [item for q in questions[start:end] for item in by_question[q]]
        start = end
    return divided
