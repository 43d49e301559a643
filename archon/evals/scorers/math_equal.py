"""``math``: mathematically equal expressions, as ``math-verify`` compares them.

The library of Hugging Face (https://github.com/huggingface/Math-Verify) reads LaTeX, sets,
intervals, matrices and units with sympy. A comparison may take unlimited time and memory, so that
each runs in a process with limits (``archon.workers``).
"""

from __future__ import annotations

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
                if await shared_worker("math").acall(seconds, a=target, b=answer, both_ways=False):
                    return Score(1, answer, f"equivalent to {shown(target)}")
        except WorkTimeoutError:
            reason = f"{shown(answer)} cannot be compared within {seconds:g} s and the memory"
            return Score(0, answer, f"{reason} limit; it counts as wrong")
        except WorkError as error:
            raise ScoringError(str(error)) from None
        return compared(answer, False, targets, "")

    return judge


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
