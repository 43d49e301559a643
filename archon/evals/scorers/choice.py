"""``choice``: the chosen option of a question, stated as its letter or as its text."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from pydantic import Field

from archon.answers import read_target
from archon.evals.scorers.declaration import Attempt, Judge, Score, ScorerType, Setup, compared
from archon.spec.common import StrictModel

_REFERS = re.compile(
    r"\b(?:above|below|both|neither|(?:options?|choices?|answers?)\s+\(?[A-Z]\b|"
    r"\(?[A-Z]\)?(?:\s*,\s*\(?[A-Z]\)?)*\s+(?:and|or|&)\s+\(?[A-Z]\b)",
)


class ChoiceOrder(StrictModel):
    """Parameters of ``choice``."""

    shuffle: bool = Field(
        True,
        description="Whether the options of each question are shuffled, in an order that depends "
        "only on the item's id. Options that refer to others, such as 'all of the above', keep "
        "the order of the row.",
    )


def shuffled(choices: Sequence[str], item: str) -> tuple[str, ...]:
    """Return the options of an item in the order in which the question shows them.

    >>> shuffled(("Rome", "All of the above"), "item-1")
    ('Rome', 'All of the above')
    """
    if any(_REFERS.search(choice) for choice in choices):
        return tuple(choices)
    order = list(choices)
    random.Random(item).shuffle(order)
    return tuple(order)


def _judge(attempt: Attempt) -> Score:
    answer = attempt.read("choice")
    targets = tuple(
        read_target(target, "choice", choices=attempt.choices) or target
        for target in attempt.written_targets
    )
    is_equal = answer is not None and _normal(answer) in map(_normal, targets)
    return compared(answer, is_equal, targets, "no option in the answer")


def _normal(option: str) -> str:
    return " ".join(option.casefold().split())


def _make(setup: Setup) -> Judge:
    return _judge


SCORER_TYPES = (
    ScorerType(
        name="choice",
        description="Right if the answer is the letter or the text of a right option.",
        kinds=("choice",),
        make=_make,
        parameters=ChoiceOrder,
    ),
)
