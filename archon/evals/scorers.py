"""Scorers, which compare an answer with the target. ``SCORERS`` lists the built-in scorers."""

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
    """The score of one answer, with an explanation."""

    value: float
    """The score, from 0 to 1. Only 1 counts as right; other scores count only in the mean score."""
    answer: str | None
    """The value that was compared with the target; None if the answer states none."""
    explanation: str


Scorer = Callable[[str | None, str, str], Score]
"""(answer value, answer text, target) → score. If the value is None, the scorer reads it from the
text. The target is a canonical value or, for a custom scorer, the text in the row."""


# ---------------------------------------------------------------------------------- exact values


def number_exact(value: str | None, text: str, target: str) -> Score:
    """Score 1 if the answer exactly equals the target: 0.5 equals 1/2, but 0.3333 is not 1/3.

    >>> number_exact(None, "So she pays $1,000.00.", "1000").value
    1
    """
    return _exact(value, text, target, "number")


def text_exact(value: str | None, text: str, target: str) -> Score:
    """Score 1 if the answer is the target's text, ignoring case and surrounding punctuation."""
    return _exact(value, text, target, "text")


def _exact(value: str | None, text: str, target: str, kind: AnswerKind) -> Score:
    answer = read_answer(text, kind) if value is None else value
    return _compare(answer, target, f"no {kind} in the answer")


def _compare(answer: str | None, target: str, none: str) -> Score:
    if answer is None:
        return Score(0, None, none)
    if same_value(answer, target):
        return Score(1, answer, "equals the target")
    return Score(0, answer, f"{shown(answer)} is not {shown(target)}")


# ---------------------------------------------------------------------------------------- lm-eval
#
# These judge the text of the answer and ignore its value. lm-eval compares with the answer as the
# data set writes it; here the target is canonical. The two agree for integers, with or without
# commas, and for decimals without trailing zeros, and GSM8K has no other answers.


def lm_eval_strict_match(value: str | None, text: str, target: str) -> Score:
    """Score the number in the first ``#### N``, as ``strict-match`` of lm-eval's ``gsm8k`` does."""
    return _compare(lm_eval.strict_match(text), target, "no '#### N' in the text")


def lm_eval_cot_strict_match(value: str | None, text: str, target: str) -> Score:
    """Score the number in the first "The answer is N.", as lm-eval's ``gsm8k_cot`` does."""
    return _compare(lm_eval.cot_strict_match(text), target, "no 'The answer is N.' in the text")


def lm_eval_flexible_extract(value: str | None, text: str, target: str) -> Score:
    """Score the last number, as ``flexible-extract`` of lm-eval's GSM8K tasks does."""
    return _compare(lm_eval.flexible_extract(text), target, "no number in the text")


# ---------------------------------------------------------------------------------------- custom


def custom_scorer(function: Callable[[str, str], float], kind: AnswerKind) -> Scorer:
    """Make a scorer from a user's function: (answer text, target in the row) → score.

    The function returns a number from 0 to 1, or True or False. Only an answer that scores 1 is
    right; other scores count only in the mean score. The scorer raises ``ScoringError`` if the
    function fails or returns anything else. Text that the function prints goes to standard error.
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
            raise ScoringError(
                f"{label(function)} must return a number from 0 to 1, not {shown(given)}"
            )
        return Score(points, answer, f"scored {points:g}; 1 is right")

    return score


def _points(given: Any) -> float | None:
    """Convert a score to a number from 0 to 1 (0 and 1 as integers); None if it is invalid."""
    try:
        points = float(given)
    except (TypeError, ValueError, OverflowError):
        return None
    if isinstance(given, str | bytes) or not 0 <= points <= 1:
        return None
    return int(points) if points in (0, 1) else points


def scored(scorer: Scorer, value: str | None, text: str, target: str) -> Score:
    """Score an answer, and check that the score is from 0 to 1.

    Raises
    ------
    ScoringError
        The scorer fails, or its score is invalid; the error names the scorer.
    """
    score = scorer(value, text, target)
    points = _points(score.value)
    if points is None:
        reason = f"{label(scorer)} must return a score from 0 to 1, not {shown(score.value)}"
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
"""Scorer → the kind of answer that it judges."""


def default_scorer(kind: AnswerKind) -> str:
    """Return the name of the scorer for a kind of answer, unless a card or the user names one."""
    return "number-exact" if kind == "number" else "text-exact"


def find_scorer(card: BenchmarkBase, file: str | None = None, name: str | None = None) -> Scorer:
    """Return the scorer called ``name`` or, if that is None, the benchmark card's scorer.

    Parameters
    ----------
    file
        The card's file, for error messages.
    name
        The name of the scorer that the user chose; None uses the card's scorer.

    Raises
    ------
    SpecError
        The card's scorer does not exist, or judges a different kind of answer than the card's.
    UsageError
        The scorer ``name`` does not exist, or judges a different kind of answer.
    """
    wanted = card.score if name is None else name
    if wanted not in SCORERS:
        reason = f"unknown scorer {shown(wanted)}{suggestion(wanted, SCORERS)}"
    elif KINDS[wanted] != card.answer:
        reason = f"{wanted} judges a {KINDS[wanted]}, but the card's 'answer' is {card.answer!r}"
    else:
        return SCORERS[wanted]
    if name is not None:
        raise UsageError(reason)
    raise SpecError(reason, file=file, path="$.score")
