"""Scorers: whether an answer is right. Cards name them; the table below registers them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from typing import Any

from archon.answers import read_answer, same_value
from archon.errors import ScoringError, SpecError, UsageError
from archon.evals import lm_eval
from archon.evals.user_code import label, place, summary
from archon.spec.benchmark import BenchmarkBase
from archon.spec.messages import shown, suggestion
from archon.types import AnswerKind


@dataclass(frozen=True, slots=True)
class Score:
    """What a scorer says of one answer."""

    value: float
    """From 0 to 1. Only 1 counts as right; what lies between counts in the mean score."""
    answer: str | None
    """The value that was judged, or None where the answer gave none."""
    explanation: str


Scorer = Callable[[str | None, str, str], Score]
"""(value, text, target) → score. The value is read from the text where it is None; the target is
a canonical value, or for a user's own scorer what the row has."""


# ------------------------------------------------------------------------------------------- ours


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
    return _judged(answer, target, f"no {kind} in the answer")


def _judged(answer: str | None, target: str, none: str) -> Score:
    if answer is None:
        return Score(0, None, none)
    if same_value(answer, target):
        return Score(1, answer, "equals the target")
    return Score(0, answer, f"{shown(answer)} is not {shown(target)}")


# ---------------------------------------------------------------------------------------- lm-eval
#
# These judge the text of the answer, whatever value was read from it or voted for. lm-eval
# compares with the answer as the data set writes it, and here the target is canonical: the same
# for integers, with or without commas, and for decimals without zeros at the end, which are all
# that GSM8K has.


def lm_eval_strict_match(value: str | None, text: str, target: str) -> Score:
    """Right if ``strict-match`` of lm-eval's task ``gsm8k`` says so: the first ``#### N``."""
    return _judged(lm_eval.strict_match(text), target, "no '#### N' in the text")


def lm_eval_cot_strict_match(value: str | None, text: str, target: str) -> Score:
    """Right if that of ``gsm8k_cot`` and ``gsm8k_cot_zeroshot`` does: first ``The answer is N.``"""
    return _judged(lm_eval.cot_strict_match(text), target, "no 'The answer is N.' in the text")


def lm_eval_flexible_extract(value: str | None, text: str, target: str) -> Score:
    """Right if ``flexible-extract`` of lm-eval's GSM8K tasks says so: the last number."""
    return _judged(lm_eval.flexible_extract(text), target, "nothing like a number in the text")


# ---------------------------------------------------------------------------------------- a user's


def own_scorer(function: Callable[[str, str], float], kind: AnswerKind) -> Scorer:
    """The scorer that a user's function makes, of an answer's text and the target as a row has it.

    A score between 0 and 1 is partial credit: it counts in the mean score, and the answer is not
    right. The scorer raises ``ScoringError`` where the function fails or gives anything but a
    number from 0 to 1; True and False are 1 and 0. What it prints goes to standard error.
    """

    def score(value: str | None, text: str, target: str) -> Score:
        answer = read_answer(text, kind) if value is None else value
        try:
            with redirect_stdout(sys.stderr):
                given = function(text, target)
        except (Exception, SystemExit) as error:  # a function that exits must not end the run
            where = place(error) or label(function)
            raise ScoringError(f"{where}: {summary(error)}") from error
        points = _points(given)
        if points is None:
            raise ScoringError(f"{label(function)} gives {shown(given)}, not a number from 0 to 1")
        return Score(points, answer, f"scored {points:g}; 1 is right")

    return score


def _points(given: Any) -> float | None:
    """The score as a number from 0 to 1, 0 and 1 themselves as integers; None where it is none."""
    try:
        points = float(given)
    except (TypeError, ValueError, OverflowError):
        return None
    if isinstance(given, str | bytes) or not 0 <= points <= 1:
        return None
    return int(points) if points in (0, 1) else points


def scored(scorer: Scorer, value: str | None, text: str, target: str) -> Score:
    """What a scorer says of an answer, held to a score from 0 to 1.

    Raises
    ------
    ScoringError
        The scorer fails, or gives anything else; the error names it.
    """
    score = scorer(value, text, target)
    points = _points(score.value)
    if points is None:
        reason = f"{label(scorer)} gives the score {shown(score.value)}, not a number from 0 to 1"
        raise ScoringError(reason)
    return replace(score, value=points)


# ---------------------------------------------------------------------------------------- by name

SCORERS: dict[str, Scorer] = {
    "number-exact": number_exact,
    "text-exact": text_exact,
    "lm-eval-strict-match": lm_eval_strict_match,
    "lm-eval-cot-strict-match": lm_eval_cot_strict_match,
    "lm-eval-flexible-extract": lm_eval_flexible_extract,
}
KINDS: dict[str, AnswerKind] = {
    "number-exact": "number",
    "text-exact": "text",
    "lm-eval-strict-match": "number",
    "lm-eval-cot-strict-match": "number",
    "lm-eval-flexible-extract": "number",
}
"""The kind of answer that each scorer judges."""


def find_scorer(card: BenchmarkBase, file: str | None = None, name: str | None = None) -> Scorer:
    """The scorer that a benchmark card names, or the one that the user names in its place.

    Parameters
    ----------
    file
        The card's, for errors.
    name
        What the user asks for.

    Raises
    ------
    SpecError
        The card's scorer does not exist, or judges another kind of answer than the card's.
    UsageError
        The user's does.
    """
    wanted = card.score if name is None else name
    if wanted not in SCORERS:
        reason = f"there is no scorer {shown(wanted)}{suggestion(wanted, SCORERS)}"
    elif KINDS[wanted] != card.answer:
        reason = f"{wanted} judges a {KINDS[wanted]}, and the card's 'answer' is {card.answer!r}"
    else:
        return SCORERS[wanted]
    if name is not None:
        raise UsageError(reason)
    raise SpecError(reason, file=file, path="$.score")
