"""Scorers: whether an answer is right. Cards name them; the table below registers them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from archon.answers import read_answer, same_value
from archon.errors import SpecError
from archon.spec.benchmark import BenchmarkCard
from archon.spec.messages import shown, suggestion
from archon.types import AnswerKind


@dataclass(frozen=True, slots=True)
class Score:
    """What a scorer says of one answer."""

    value: int
    """1 for a right answer, 0 for any other; there is no partial credit."""
    answer: str | None
    """The value that was judged, or None where the answer gave none."""
    explanation: str


Scorer = Callable[[str | None, str, str], Score]
"""(value, text, target) → score. The value is read from the text where it is None; the target is
a canonical value."""


def number_exact(value: str | None, text: str, target: str) -> Score:
    """Right if the number is exactly the target's: 0.5 and 1/2 are equal, 0.3333 and 1/3 are not.

    >>> number_exact(None, "So she pays $1,000.00.", "1000").value
    1
    """
    return _exact(value, text, target, "number")


def text_exact(value: str | None, text: str, target: str) -> Score:
    """Right if the text is the target's, but for letter case, spaces and punctuation around it."""
    return _exact(value, text, target, "text")


def _exact(value: str | None, text: str, target: str, kind: AnswerKind) -> Score:
    answer = read_answer(text, kind) if value is None else value
    if answer is None:
        return Score(0, None, f"no {kind} in the answer")
    if same_value(answer, target):
        return Score(1, answer, "equals the target")
    return Score(0, answer, f"{shown(answer)} is not {shown(target)}")


SCORERS: dict[str, Scorer] = {"number-exact": number_exact, "text-exact": text_exact}
KINDS: dict[str, AnswerKind] = {"number-exact": "number", "text-exact": "text"}
"""The kind of answer that each scorer judges."""


def find_scorer(card: BenchmarkCard, file: str | None = None) -> Scorer:
    """The scorer that a benchmark card names; ``file`` is the card's, for errors.

    Raises
    ------
    SpecError : there is no such scorer, or it judges another kind of answer than the card's.
    """
    name = card.score
    if name not in SCORERS:
        reason = f"there is no scorer {shown(name)}{suggestion(name, SCORERS)}"
        raise SpecError(reason, file=file, path="$.score")
    if KINDS[name] != card.answer:
        reason = f"{name} judges a {KINDS[name]}, and the card's 'answer' is {card.answer!r}"
        raise SpecError(reason, file=file, path="$.score")
    return SCORERS[name]
