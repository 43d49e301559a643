"""Scorers that count an answer as the scorers of Inspect (inspect_ai) do.

They judge the text of the answer and ignore its value, and compare it with the target as the row
writes it (``archon.evals.inspect_ai``).
"""

from __future__ import annotations

from string import ascii_uppercase
from typing import Literal

from pydantic import Field

from archon.evals import inspect_ai
from archon.evals.scorers.declaration import Attempt, Judge, Score, ScorerType, Setup, compared
from archon.spec.common import StrictModel
from archon.spec.messages import shown
from archon.types import AnswerKind

_KINDS: tuple[AnswerKind, ...] = ("text", "number", "math", "choice")
_MAX_SHOWN = 200


class MatchParameters(StrictModel):
    """Parameters of ``inspect-match``."""

    location: Literal["begin", "end", "any", "exact"] = Field(
        "end", description="Where the text must match the target: begin, end, any or exact."
    )
    ignore_case: bool = Field(True, description="Whether to ignore letter case.")
    numeric: bool = Field(
        False,
        description="Whether a target that is a number is compared with the numbers in the text: "
        "the first (begin), the last (end) or any.",
    )


class IncludesParameters(StrictModel):
    """Parameters of ``inspect-includes``."""

    ignore_case: bool = Field(True, description="Whether to ignore letter case.")


class AnswerParameters(StrictModel):
    """Parameters of ``inspect-answer``."""

    pattern: Literal["letter", "word", "line"] = Field(
        description="What follows 'ANSWER:': a letter, a word or a line."
    )


class ChoiceParameters(StrictModel):
    """Parameters of ``inspect-choice``."""

    multiple_correct: bool = Field(
        False, description="Whether several letters may be stated; all right ones must be."
    )


def _make_match(setup: Setup) -> Judge:
    parameters: MatchParameters = setup.parameters

    def judge(attempt: Attempt) -> Score:
        answer = ""
        for target in attempt.written_targets:
            answer, is_equal = inspect_ai.match(
                attempt.text,
                target,
                parameters.location,
                ignore_case=parameters.ignore_case,
                numeric=parameters.numeric,
            )
            if is_equal:
                return Score(1, answer or target, "matches the target")
        none = "no number in the text" if parameters.numeric else "no text in the answer"
        return compared(answer[-_MAX_SHOWN:] or None, False, attempt.written_targets, none)

    return judge


def _make_includes(setup: Setup) -> Judge:
    ignore_case: bool = setup.parameters.ignore_case

    def judge(attempt: Attempt) -> Score:
        for target in attempt.written_targets:
            if inspect_ai.includes(attempt.text, target, ignore_case=ignore_case):
                return Score(1, target, f"the text includes {shown(target)}")
        if not attempt.text:
            return Score(0, None, "no text in the answer")
        answer = attempt.text[:_MAX_SHOWN]
        return Score(0, answer, f"{shown(answer)} does not include {shown(attempt.target)}")

    return judge


def _judge_exact(attempt: Attempt) -> Score:
    answer = inspect_ai.normalized(attempt.text)
    is_equal = any(inspect_ai.exact(attempt.text, target) for target in attempt.written_targets)
    targets = tuple(map(inspect_ai.normalized, attempt.written_targets))
    return compared(answer or None, is_equal, targets, "no text in the answer")


def _judge_f1(attempt: Attempt) -> Score:
    best = max(attempt.written_targets, key=lambda target: inspect_ai.f1(attempt.text, target))
    points = inspect_ai.f1(attempt.text, best)
    answer = inspect_ai.normalized(attempt.text)
    return Score(points, answer or None, f"F1 {points:g} with {shown(best)}")


def _make_answer(setup: Setup) -> Judge:
    part = setup.parameters.pattern

    def judge(attempt: Attempt) -> Score:
        answer, targets = inspect_ai.stated_answer(attempt.text, part), attempt.written_targets
        wanted = [target.lower() for target in targets]
        is_equal = answer is not None and answer.lower() in wanted
        return compared(answer, is_equal, targets, f"no {part} after 'ANSWER:'")

    return judge


def _make_choice(setup: Setup) -> Judge:
    several: bool = setup.parameters.multiple_correct

    def judge(attempt: Attempt) -> Score:
        options = attempt.shown_choices
        letters = ascii_uppercase[: len(options) or None]
        stated = inspect_ai.chosen_letters(attempt.text, letters, several=several)
        answer = ", ".join(sorted(stated)) or None
        right = {
            letter
            for target in attempt.written_targets
            for letter in target.upper()
            if letter in ascii_uppercase
        }
        if attempt.choices:  # the question may show them in another order
            texts = {attempt.choices[ascii_uppercase.index(letter)] for letter in right}
            right = {letter for letter, text in zip(letters, options, strict=True) if text in texts}
        is_equal = stated == right
        return compared(answer, is_equal, tuple(sorted(right)), "no option after 'ANSWER:'")

    return judge


SCORER_TYPES = (
    ScorerType(
        name="inspect-match",
        description="Right if the text ends with the target, as for Inspect's match; with "
        "numeric, if its last number is the target.",
        kinds=_KINDS,
        make=_make_match,
        parameters=MatchParameters,
        shorthand="location",
        reads="text",
        reads_row_targets=True,
    ),
    ScorerType(
        name="inspect-includes",
        description="Right if the text includes the target, also as a part of a word or number, "
        "as for Inspect's includes.",
        kinds=_KINDS,
        make=_make_includes,
        parameters=IncludesParameters,
        reads="text",
        reads_row_targets=True,
    ),
    ScorerType(
        name="inspect-exact",
        description="Right if the complete text is the target, without letter case, punctuation "
        "and articles, as for Inspect's exact.",
        kinds=_KINDS,
        make=lambda setup: _judge_exact,
        reads="text",
        reads_row_targets=True,
    ),
    ScorerType(
        name="inspect-f1",
        description="Partial score: F1 of the words of the complete text and the target, as "
        "Inspect's f1 computes it.",
        kinds=_KINDS,
        make=lambda setup: _judge_f1,
        reads="text",
        reads_row_targets=True,
    ),
    ScorerType(
        name="inspect-answer",
        description="Right if the letter, word or line after 'ANSWER:' is the target, as for "
        "Inspect's answer.",
        kinds=_KINDS,
        make=_make_answer,
        parameters=AnswerParameters,
        shorthand="pattern",
        reads="text",
        reads_row_targets=True,
    ),
    ScorerType(
        name="inspect-choice",
        description="Right if the letters after 'ANSWER:' are those of all right options, as for "
        "Inspect's choice after multiple_choice.",
        kinds=("choice",),
        make=_make_choice,
        parameters=ChoiceParameters,
        reads="text",
        reads_row_targets=True,
    ),
)
