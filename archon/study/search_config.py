"""The configuration of a search, and the events that it reports."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archon.evals.benchmarks.columns import Columns
from archon.evals.costs import Cost
from archon.evals.runner import OnProgress
from archon.evals.scorers import ScorerOption
from archon.spec.reader import Reference
from archon.study.objectives import OBJECTIVES, SearchLimits
from archon.study.trials import TrialRecord
from archon.tracking.session import TrackerChoice

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class SearchConfig:
    """The options of a search, except for the space and the benchmark."""

    objectives: tuple[str, ...] = ("accuracy",)
    """Names of the objectives; the first one ranks the finalists."""
    limits: SearchLimits = field(default_factory=SearchLimits)
    """Upper bounds on the mean cost per answer."""
    cost: Cost = "tokens"
    """Cost at which the winner is compared with a plain vote."""
    sampler: str = "tpe"
    seed: int = 0
    """Seed of the samples and of the sampler. It does not change the items."""
    trials: int = 60
    """Number of trials in which items are asked, over all workers and sessions."""
    stops_early: bool = True
    """Whether hopeless trials are stopped early."""
    limit: int | None = 100
    """Number of items of the *search* split for the trials."""
    final_limit: int | None = 200
    """Number of items of each of *select* and *test* for the finals."""
    finalists: int = 5
    """Number of trials that are evaluated on *select*; 0 skips *select* and *test*."""
    warm_start: Sequence[Reference] = ()
    """Names or paths of architectures in the space that are tried first."""
    models: Mapping[str, Any] = field(default_factory=dict)
    """Role → the model that replaces the one in the space file."""
    data: str | os.PathLike[str] | None = None
    """A file that replaces the benchmark's source."""
    scorer: ScorerOption = None
    """A scorer that replaces the benchmark's, or a list of them; see ``archon.api.benchmark``."""
    columns: Columns = field(default_factory=Columns)
    """Columns and the kind of answer, which replace the benchmark's."""
    study: str | None = None
    """Name of the study; None generates a new name."""
    storage: str | None = None
    """URL of the database; None means a SQLite file in the study's folder."""
    resume: bool = False
    """Whether to resume an existing study. If False, an existing study is an error."""
    cache: bool = True
    """Whether stored samples are reused; see ``uses_pool``."""
    output: Path | None = None
    """The winner's file; None means ``best.json`` in the study's folder."""
    track: TrackerChoice | None = None
    """The experiment tracker that records the study."""

    @property
    def directions(self) -> list[str]:
        """The direction of each objective: "maximize" or "minimize"."""
        return ["maximize" if OBJECTIVES[name] else "minimize" for name in self.objectives]

    @property
    def needs_compute(self) -> bool:
        """True if the compute of every answer must be known."""
        return "compute" in self.objectives or self.limits.compute is not None

    @property
    def uses_pool(self) -> bool:
        """True if stored samples are reused.

        They are not if time is an objective or a limit, because a stored sample takes no time.
        """
        return self.cache and "seconds" not in self.objectives and self.limits.seconds is None


@dataclass(frozen=True)
class TrialStarted:
    """Event: a trial is about to ask its first item."""

    number: int
    point: Mapping[str, Any]


@dataclass(frozen=True)
class TrialFinished:
    """Event: a trial is finished and stored."""

    record: TrialRecord


StudyEvent = TrialStarted | TrialFinished
OnStudyEvent = Callable[[StudyEvent], None]
OnRun = Callable[[str, int], OnProgress | None]
"""Called when a run of the finals starts; its arguments are the title and the number of items. It
returns the progress listener of the run."""


@dataclass(frozen=True)
class SearchListeners:
    """Callbacks of a running search."""

    before_trials: Callable[[], None] | None = None
    """Called before the first trial, for example to open models."""
    on_event: OnStudyEvent | None = None
    on_progress: OnProgress | None = None
    """Called after each finished item of a trial."""
    on_run: OnRun | None = None
