"""The configuration of a search, and the events that it reports."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archon.errors import require
from archon.evals.runner import OnProgress
from archon.spec.reader import Reference
from archon.study.objectives import OBJECTIVES, SearchLimits
from archon.study.stopping import P_THRESHOLD
from archon.study.trials import TrialRecord

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class SearchConfig:
    """The options of a search, apart from its space and benchmark."""

    objectives: tuple[str, ...] = ("accuracy",)
    """The objectives. The first one decides among the finalists."""
    limits: SearchLimits = field(default_factory=SearchLimits)
    """Upper bounds on the mean cost per answer."""
    sampler: str = "tpe"
    seed: int = 0
    """Random seed of the sampler and of the samples. It does not change the items."""
    trials: int = 60
    """Number of trials that are evaluated on items, across all workers and sessions."""
    stops_early: bool = True
    """Whether to stop unpromising trials early."""
    limit: int | None = 100
    """Number of items of the *search* split, on which trials are evaluated."""
    final_limit: int | None = 200
    """Number of items of the *select* and *test* splits."""
    finalists: int = 5
    """Number of trials that are evaluated on *select*; with 0, *select* and *test* are skipped."""
    warm_start: Sequence[Reference] = ()
    """Architectures, which must be in the space, to try first."""
    models: Mapping[str, Any] = field(default_factory=dict)
    """Role → the model that replaces the role's model in the space."""
    data: str | os.PathLike[str] | None = None
    """A JSONL file that replaces the benchmark's source."""
    scorer: str | None = None
    """The name of a scorer that replaces the benchmark's scorer."""
    study: str | None = None
    """Name of the study. If None, a new name is chosen."""
    storage: str | None = None
    """URL of the database. If None, a SQLite file in the study's folder is used."""
    resume: bool = False
    """Whether to resume the study if it exists."""
    cache: bool = True
    """Whether to use the sample pool."""
    output: Path | None = None
    """Path of the winner's file. If None, it is ``best.json`` in the study's folder."""

    @property
    def directions(self) -> list[str]:
        """The direction of each objective, as Optuna names it."""
        return ["maximize" if OBJECTIVES[name] else "minimize" for name in self.objectives]

    @property
    def uses_pool(self) -> bool:
        """True unless time is an objective or a limit.

        Samples from the pool take no time, so they would distort the measured times.
        """
        return self.cache and "seconds" not in self.objectives and self.limits.seconds is None


@dataclass(frozen=True)
class TrialStarted:
    """Event: the evaluation of a trial begins."""

    number: int
    point: Mapping[str, Any]


@dataclass(frozen=True)
class TrialFinished:
    """Event: a trial is finished."""

    record: TrialRecord


StudyEvent = TrialStarted | TrialFinished
OnStudyEvent = Callable[[StudyEvent], None]
OnRun = Callable[[str, int], OnProgress | None]
"""(title of a run in the finals, number of items) → callback for the run's progress."""


@dataclass(frozen=True)
class SearchListeners:
    """Callbacks of a running search."""

    before_trials: Callable[[], None] | None = None
    """Called before the first trial, for example to open models."""
    on_event: OnStudyEvent | None = None
    on_progress: OnProgress | None = None
    """Called with the progress on a trial's items."""
    on_run: OnRun | None = None


def pruner(config: SearchConfig) -> optuna.pruners.BasePruner:
    """Return the Wilcoxon pruner for one objective; no pruning for several or without stopping."""
    pruners = require("optuna", "search").pruners
    if not config.stops_early or len(config.objectives) > 1:
        return pruners.NopPruner()  # type: ignore[no-any-return]
    with warnings.catch_warnings(action="ignore"):  # the pruner is experimental, and pinned
        return pruners.WilcoxonPruner(p_threshold=P_THRESHOLD)  # type: ignore[no-any-return]
