"""``regex``: the part of a text that a pattern finds, compared with the target."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from archon.answers import read_target, same_value
from archon.errors import ScoringError
from archon.evals.scorers.declaration import Attempt, Judge, Score, ScorerType, Setup, compared
from archon.spec.common import StrictModel
from archon.spec.messages import shown
from archon.workers.process import WorkError, WorkTimeoutError, shared_worker


class Pattern(StrictModel):
    """Parameters of ``regex``."""

    pattern: str = Field(
        min_length=1,
        description="Regular expression (Python's re). Its group 'answer', its first group or, "
        "without groups, the complete match is the answer.",
    )
    match: Literal["first", "last"] = Field("last", description="Which match counts.")
    seconds: float = Field(2, gt=0, le=60, description="CPU time limit of a search.")

    @field_validator("pattern")
    @classmethod
    def _valid(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return pattern


def _make(setup: Setup) -> Judge:
    parameters: Pattern = setup.parameters
    compiled, kind = re.compile(parameters.pattern), setup.kind
    group = "answer" if "answer" in compiled.groupindex else min(1, compiled.groups)

    async def judge(attempt: Attempt) -> Score:
        try:
            found = await shared_worker("regex").acall(
                parameters.seconds,
                pattern=parameters.pattern,
                text=attempt.text,
                group=group,
                takes_last=parameters.match == "last",
            )
        except WorkTimeoutError:
            reason = f"the search took more than {parameters.seconds:g} s; it counts as no match"
            return Score(0, None, reason)
        except WorkError as error:
            raise ScoringError(str(error)) from None
        if found is None:
            return Score(0, None, f"no match of {shown(parameters.pattern)}")
        targets = attempt.accepted(kind)
        answer = read_target(found, kind)
        if answer is None:
            return Score(0, found, f"{shown(found)} states no {kind}")
        is_equal = any(same_value(answer, target) for target in targets)
        return compared(answer, is_equal, targets, "")

    return judge


SCORER_TYPES = (
    ScorerType(
        name="regex",
        description="Right if the part of the text that a regular expression finds equals the "
        "target.",
        kinds=("text", "number", "choice", "math", "code", "json"),
        make=_make,
        parameters=Pattern,
        shorthand="pattern",
        reads="text",
        is_async=True,
    ),
)
