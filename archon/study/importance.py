"""Importance of each parameter: how much its value decides whether a trial is among the best.

The method is Optuna's conditional PED-ANOVA (S. Watanabe et al., PED-ANOVA, IJCAI 2023, arXiv
2304.10255, and its extension to conditional parameters, arXiv 2601.20800). It compares the values
of a parameter among the best trials with its values among all trials. Optuna's other evaluators,
fANOVA and mean decrease of impurity, leave out conditional parameters.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archon.errors import require

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

MIN_TRIALS = 20
MIN_BEST = 5
"""Minimum number of trials; with fewer, the values are unreliable according to Optuna."""
_BEST_SHARE = 0.1


@dataclass(frozen=True)
class Importance:
    """The importance of the parameters for one objective."""

    shares: dict[str, float]
    """Parameter → share of the importance, the largest first; the shares add up to 1. Empty if
    nothing can be estimated."""
    num_trials: int
    num_best: int = 0
    """Number of trials that count as the best."""
    why_not: str | None = None
    """Why nothing can be estimated, such as "all trials are equally good"; else None."""


def importance(
    trials: Sequence[FrozenTrial], values: Sequence[float], *, is_higher_better: bool
) -> Importance:
    """Estimate the importance of each parameter for one objective.

    Parameters
    ----------
    trials
        Trials in which items were asked.
    values
        The objective's value for each trial.

    Raises
    ------
    MissingExtraError
        Optuna is not installed.
    """
    optuna = require("optuna", "search")
    num = len(trials)
    if num < MIN_TRIALS:
        why_not = f"at least {MIN_TRIALS} trials are needed, {num} so far"
        return Importance({}, num, why_not=why_not)
    share = max(_BEST_SHARE, MIN_BEST / num)
    ordered = sorted(values, reverse=is_higher_better)
    cutoff = ordered[math.ceil(share * num) - 1]
    num_best = sum(v >= cutoff if is_higher_better else v <= cutoff for v in values)
    if num_best == num:
        return Importance({}, num, why_not="all trials are equally good")
    study = optuna.create_study(direction="maximize" if is_higher_better else "minimize")
    study.add_trials(
        [
            optuna.trial.create_trial(
                params=trial.params, distributions=trial.distributions, value=value
            )
            for trial, value in zip(trials, values, strict=True)
        ]
    )
    with warnings.catch_warnings(action="ignore"):  # about parameters that exist in few trials
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=share)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return Importance({name: float(value) for name, value in found.items()}, num, num_best)
