"""Scorers that count an answer as lm-eval's GSM8K tasks do.

They judge the text of the answer and ignore its value. lm-eval compares with the answer as the data
set writes it; here the target is canonical. The two agree for integers, with or without commas, and
for decimals without trailing zeros, and GSM8K has no other answers.
"""

from __future__ import annotations

from collections.abc import Callable

from archon.answers import same_value
from archon.evals import lm_eval
from archon.evals.scorers.declaration import Attempt, Score, ScorerType, compared


def _type(
    name: str, extract: Callable[[str], str | None], what: str, description: str
) -> ScorerType:
    def judge(attempt: Attempt) -> Score:
        answer, targets = extract(attempt.text), attempt.accepted("number")
        is_equal = any(same_value(answer, target) for target in targets)
        return compared(answer, is_equal, targets, f"no {what} in the text")

    return ScorerType(
        name=name,
        description=description,
        kinds=("number",),
        make=lambda setup: judge,
        reads="text",
    )


SCORER_TYPES = (
    _type(
        "lm-eval-strict-match",
        lm_eval.strict_match,
        "'#### N'",
        "Right if the number in the first #### N is the target, as for strict-match of lm-eval's "
        "gsm8k.",
    ),
    _type(
        "lm-eval-cot-strict-match",
        lm_eval.cot_strict_match,
        "'The answer is N.'",
        'Right if the number in the first "The answer is N." is the target, as for strict-match '
        "of lm-eval's gsm8k_cot.",
    ),
    _type(
        "lm-eval-flexible-extract",
        lm_eval.flexible_extract,
        "number",
        "Right if the last number is the target, as for flexible-extract of lm-eval's GSM8K tasks.",
    ),
)
