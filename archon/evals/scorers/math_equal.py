"""``math``: mathematically equal expressions, as ``math-verify`` compares them.

The library of Hugging Face (https://github.com/huggingface/Math-Verify) reads LaTeX, sets,
intervals, matrices and units with sympy. A comparison may take unlimited time and memory, so that
each runs in a process with limits (``worker.py``).
"""

from __future__ import annotations

from pydantic import Field

from archon.errors import require
from archon.evals.scorers.declaration import Attempt, Judge, Score, ScorerType, Setup, compared
from archon.evals.scorers.worker import WorkTimeoutError, shared_worker
from archon.spec.common import StrictModel
from archon.spec.messages import shown

MAX_CHARACTERS = 4_000
"""Maximum length of an expression. Longer values are no answers to a question."""


class MathLimits(StrictModel):
    """Parameters of ``math``."""

    seconds: float = Field(5, gt=0, le=600, description="CPU time limit of a comparison.")


def _make(setup: Setup) -> Judge:
    require("math_verify", "evals")
    seconds = setup.parameters.seconds

    async def judge(attempt: Attempt) -> Score:
        answer, targets = attempt.value, attempt.written_targets
        if answer is None and not (answer := attempt.read("math")):
            return Score(0, None, "no expression in the answer")
        if answer.strip() in {target.strip() for target in (*targets, attempt.target)}:
            return Score(1, answer, "equals the target")
        if len(answer) > MAX_CHARACTERS:
            return Score(0, None, f"the expression is longer than {MAX_CHARACTERS} characters")
        try:
            is_equal = await shared_worker("math").call(
                seconds, targets=[*map(_marked, targets)], answer=_marked(answer)
            )
        except WorkTimeoutError:
            reason = f"{shown(answer)} cannot be compared within {seconds:g} s and the memory"
            return Score(0, answer, f"{reason} limit; it counts as wrong")
        score = compared(answer, is_equal, targets, "")
        return Score(1, answer, f"equivalent to {shown(targets[0])}") if is_equal else score

    return judge


def _marked(expression: str) -> str:
    r"""Mark an expression as LaTeX, so that ``math-verify`` reads it completely.

    >>> _marked("[0,1)"), _marked("so $x$")
    ('\\boxed{[0,1)}', 'so $x$')
    """
    return (
        expression if "$" in expression or r"\boxed" in expression else rf"\boxed{{{expression}}}"
    )


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
