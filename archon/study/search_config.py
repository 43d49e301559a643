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
    """The options of a search: everything but its space and its benchmark."""

    objectives: tuple[str, ...] = ("accuracy",)
    """The first decides among the finalists."""
    limits: SearchLimits = field(default_factory=SearchLimits)
    """Upper bounds of the mean cost per answer."""
    sampler: str = "tpe"
    seed: int = 0
    """Changes samples and what the sampler proposes, never items."""
    trials: int = 60
    """Trials that ask items, over all workers and sessions."""
    stops_early: bool = True
    """Stop hopeless trials."""
    limit: int | None = 100
    """Items of the *search* split, on which trials are evaluated."""
    final_limit: int | None = 200
    """Items of *select* and of *test*."""
    finalists: int = 5
    """Trials that are evaluated on *select*; 0 skips *select* and *test*."""
    warm_start: Sequence[Reference] = ()
    """Architectures of the space that are tried first."""
    models: Mapping[str, Any] = field(default_factory=dict)
    """Role → the model that replaces the one in the space."""
    data: str | os.PathLike[str] | None = None
    """A JSONL file that replaces the source of the benchmark."""
    scorer: str | None = None
    """The name of a scorer that replaces the benchmark's."""
    study: str | None = None
    """Name of the study; None makes a new one."""
    storage: str | None = None
    """URL of the database; None is a SQLite file in the study's folder."""
    resume: bool = False
    """Continue the study if it exists."""
    cache: bool = True
    """Use the pool of samples."""
    output: Path | None = None
    """The winner's file; None is ``best.json`` in the study's folder."""

    @property
    def directions(self) -> list[str]:
        """Optuna's name of each objective's direction."""
        return ["maximize" if OBJECTIVES[name] else "minimize" for name in self.objectives]

    @property
    def uses_pool(self) -> bool:
        """True unless time is an objective or a limit: samples from the pool take no time."""
        return self.cache and "seconds" not in self.objectives and self.limits.seconds is None


@dataclass(frozen=True)
class TrialStarted:
    """A trial is about to ask its items."""

    number: int
    point: Mapping[str, Any]


@dataclass(frozen=True)
class TrialFinished:
    """A trial is finished."""

    record: TrialRecord


StudyEvent = TrialStarted | TrialFinished
OnStudyEvent = Callable[[StudyEvent], None]
OnRun = Callable[[str, int], OnProgress | None]
"""(title of a run of the finals, its items) → the listener of its progress."""


@dataclass(frozen=True)
class SearchListeners:
    """Callbacks of a running search."""

    before_trials: Callable[[], None] | None = None
    """Called before the first trial, for example to open models."""
    on_event: OnStudyEvent | None = None
    on_progress: OnProgress | None = None
    """Progress on the items of a trial."""
    on_run: OnRun | None = None


def pruner(config: SearchConfig) -> optuna.pruners.BasePruner:
    """Make the pruner: Wilcoxon's for one objective, none for several or without stopping."""
    pruners = require("optuna", "search").pruners
    if not config.stops_early or len(config.objectives) > 1:
        return pruners.NopPruner()  # type: ignore[no-any-return]
    with warnings.catch_warnings(action="ignore"):  # the pruner is experimental, and pinned
        return pruners.WilcoxonPruner(p_threshold=P_THRESHOLD)  # type: ignore[no-any-return]
