"""``math``: mathematically equal expressions, as ``math-verify`` compares them.

The library of Hugging Face (https://github.com/huggingface/Math-Verify) reads LaTeX, sets,
intervals, matrices and units with sympy. A comparison may take unlimited time and memory, so that
each runs in a process with limits (``archon.workers``).
"""

from __future__ import annotations

import re

from pydantic import Field

from archon.answers import read_target
from archon.errors import ScoringError, require
from archon.evals.scorers.declaration import Attempt, Judge, Score, ScorerType, Setup, compared
from archon.spec.common import StrictModel
from archon.spec.messages import shown
from archon.workers.process import WorkError, WorkTimeoutError, shared_worker

MAX_CHARACTERS = 4_000
"""Maximum length of an expression. Longer values are no answers to a question."""


class MathLimits(StrictModel):
    """Parameters of ``math``."""

    seconds: float = Field(5, gt=0, le=600, description="CPU time limit of a comparison.")


def _make(setup: Setup) -> Judge:
    require("math_verify", "evals")
    seconds = setup.parameters.seconds

    async def judge(attempt: Attempt) -> Score:
        answer, targets = attempt.read("math"), attempt.written_targets
        if answer is None:
            return Score(0, None, "no expression in the answer")
        canonical = {read_target(target, "math") for target in targets}
        if answer in targets or answer in canonical:
            return Score(1, answer, "equals the target")
        if len(answer) > MAX_CHARACTERS:
            return Score(0, None, f"the expression is longer than {MAX_CHARACTERS} characters")
        try:
            for target in targets:
                if _are_words(read_target(target, "math"), answer):
                    continue
                if await shared_worker("math").acall(seconds, a=target, b=answer, both_ways=False):
                    return Score(1, answer, f"equivalent to {shown(target)}")
        except WorkTimeoutError:
            reason = f"{shown(answer)} cannot be compared within {seconds:g} s and the memory"
            return Score(0, answer, f"{reason} limit; it counts as wrong")
        except WorkError as error:
            raise ScoringError(str(error)) from None
        return compared(answer, False, targets, "")

    return judge


def _are_words(target: str | None, answer: str) -> bool:
    """Return whether two values are plain words, which are equal only if they are written alike.

    The library reads a word as the product of its letters, so that "angle" equals "glean". Up to
    three letters may be a product, such as ``xy``.
    """
    return bool(target and _WORDS.fullmatch(target) and _WORDS.fullmatch(answer))


_WORDS = re.compile(r"(?=.*[^\W\d_]{4})[^\W\d_]+(?:[ '-]+[^\W\d_]+)*")

SCORER_TYPES = (
    ScorerType(
        name="math",
        description="Right if the expression is mathematically equal to the target: LaTeX, sets, "
        "intervals, matrices and units, as math-verify compares them.",
        kinds=("math", "number", "text"),
        make=_make,
        parameters=MathLimits,
        reads_row_targets=True,
        is_async=True,
    ),
)
