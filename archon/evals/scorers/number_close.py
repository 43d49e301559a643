"""``number-close``: numbers within a tolerance of the target."""

from __future__ import annotations

from fractions import Fraction

from pydantic import Field

from archon.evals.scorers.declaration import Attempt, Judge, Score, ScorerType, Setup
from archon.spec.common import StrictModel
from archon.spec.messages import shown


class Tolerance(StrictModel):
    """Parameters of ``number-close``. An answer within either tolerance is right."""

    relative: float = Field(
        0.01, ge=0, le=1, description="Maximum deviation as a share of the target; 0.01 is 1%."
    )
    absolute: float = Field(0, ge=0, description="Maximum deviation as a number.")


_MAX_DIGITS = 2_000


def _make(setup: Setup) -> Judge:
    relative, absolute = Fraction(setup.parameters.relative), Fraction(setup.parameters.absolute)

    def judge(attempt: Attempt) -> Score:
        answer = attempt.read("number")
        if answer is None:
            return Score(0, None, "no number in the answer")
        if len(answer) > _MAX_DIGITS:
            return Score(0, None, f"the number has more than {_MAX_DIGITS} digits")
        given = Fraction(answer)
        targets = [Fraction(target) for target in attempt.accepted("number")]
        target = min(targets, key=lambda target: abs(given - target))
        is_close = any(
            abs(given - target) <= max(relative * abs(target), absolute) for target in targets
        )
        deviation = f"deviates by {float(abs(given - target)):.6g} from {shown(attempt.target)}"
        return Score(int(is_close), answer, f"{shown(answer)} {deviation}")

    return judge


NUMBER_CLOSE = ScorerType(
    name="number-close",
    description="Right if the number is within a tolerance of the target, by default 1% of it.",
    kinds=("number",),
    make=_make,
    parameters=Tolerance,
    shorthand="relative",
)

SCORER_TYPES = (NUMBER_CLOSE,)
