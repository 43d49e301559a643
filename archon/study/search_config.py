"""What a search is to do, and what it tells while it does it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archon.errors import require
from archon.study.objectives import OBJECTIVES, Limits
from archon.study.stopping import P_THRESHOLD
from archon.study.trials import TrialRecord

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Plan:
    """What is sought, how, and how long."""

    objectives: tuple[str, ...]
    limits: Limits
    sampler: str
    seed: int
    trials: int
    """Trials that ask something, those of all workers and sittings together."""
    stops_early: bool = True

    @property
    def directions(self) -> list[str]:
        """Those of the objectives, in Optuna's words."""
        return ["maximize" if OBJECTIVES[name] else "minimize" for name in self.objectives]


@dataclass(frozen=True)
class TrialStarted:
    """A trial is about to ask its items."""

    number: int
    point: Mapping[str, Any]


@dataclass(frozen=True)
class TrialTold:
    """A trial has been told."""

    record: TrialRecord


StudyEvent = TrialStarted | TrialTold
OnStudyEvent = Callable[[StudyEvent], None]


def pruner(plan: Plan) -> optuna.pruners.BasePruner:
    """Optuna's pruner for accuracy over a set of questions, where there is one objective."""
    pruners = require("optuna", "search").pruners
    if not plan.stops_early or len(plan.objectives) > 1:
        return pruners.NopPruner()  # type: ignore[no-any-return]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pruners.WilcoxonPruner(p_threshold=P_THRESHOLD)  # type: ignore[no-any-return]
