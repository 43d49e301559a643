"""Items of a benchmark, and their division into the *search*, *select* and *test* splits."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from pydantic import JsonValue

from archon.errors import SpecError
from archon.spec.benchmark import BenchmarkBase
from archon.spec.messages import shown

Split = Literal["search", "select", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
SplitChoice = Literal["search", "select", "test", "all"]
"""A split, or all items together."""

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
    split: SplitChoice = "select"
    limit: int | None = None
    """Maximum number of items, taken from the start of the split; None uses all."""
    data: Path | None = None
    """The file of the items, if the user named it instead of a card or in place of its source."""


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


def split_sizes(items: Sequence[Item]) -> dict[Split, int]:
    """Return the number of items that ``divide`` gives to each split."""
    return {split: len(dealt) for split, dealt in divide(items).items()}


def least_questions() -> int:
    """Return the number of distinct questions from which on no split is empty."""
    number = 1
    while not all(split_sizes([Item(str(n), str(n), "") for n in range(number)]).values()):
        number += 1
    return number
