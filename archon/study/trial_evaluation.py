"""Evaluation of a trial: build its architecture, and run it on the first items."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from archon.errors import GraphError, UsageError
from archon.evals.benchmarks import Item
from archon.evals.compute import unknown_text
from archon.evals.folder import RunFolder
from archon.evals.records import Record
from archon.evals.run import read_run
from archon.evals.runner import EvalProgress, Evaluation, OnProgress, evaluate
from archon.graph.architecture import Architecture
from archon.graph.estimate import Expectation, estimate
from archon.lm.pool import DrawPool
from archon.spec.architecture import ArchitectureSpec
from archon.study.objectives import ItemResult, SearchLimits
from archon.study.space import Point, RejectedError, Space
from archon.types import Question


@dataclass(frozen=True)
class TrialCandidate:
    """The architecture of a configuration, ready to be evaluated."""

    digest: str
    """Digest of the architecture, equal for configurations that build the same architecture."""
    estimate: Mapping[str, float]
    """Estimated ``tokens`` and ``calls`` per answer."""
    architecture: Architecture | None = None


@dataclass(frozen=True)
class Measured:
    """The results of a candidate on the first items."""

    results: Sequence[ItemResult]
    """One result per item, in the order of the items."""
    generated_tokens: int = 0
    completion_tokens: int = 0
    cost_tokens: int = 0
    run: str | None = None
    error: str | None = None
    """Error of the first failed item; None if no item failed."""
    is_cut: bool = False
    """True if the run was ended because it was certain to exceed a limit. ``results`` then has only
    the answered items."""


class Subject(Protocol):
    """Protocol of ``Architectures``: builds and evaluates candidates. Tests use a fake."""

    @property
    def num_items(self) -> int: ...

    def candidate(self, point: Point) -> TrialCandidate:
        """Build the candidate of a configuration.

        Raises
        ------
        RejectedError
            The configuration is not valid.
        """
        ...

    async def measure(self, candidate: TrialCandidate, trial: int, num_items: int) -> Measured:
        """Return the results on the first ``num_items`` items; ask only those not asked before."""
        ...


@dataclass
class Architectures:
    """Builds architectures of a space, and runs them on the items of a benchmark."""

    space: Space
    load: Callable[[ArchitectureSpec], Architecture]
    evaluation: Callable[[Architecture], Evaluation]
    items: Sequence[Item]
    folder: Path
    """Folder that contains a run folder for each trial."""
    pool: DrawPool | None
    limits: SearchLimits = field(default_factory=SearchLimits)
    on_progress: OnProgress | None = None
    needs_compute: bool = False
    """True if compute is an objective or a limit."""
    _expectation: Expectation = field(init=False)

    def __post_init__(self) -> None:
        median = sorted(self.items, key=lambda item: len(item.question))[len(self.items) // 2]
        self._expectation = Expectation(Question(median.question))

    @property
    def num_items(self) -> int:
        return len(self.items)

    def candidate(self, point: Point) -> TrialCandidate:
        spec = self.space.build(point)
        try:
            architecture = self.load(spec)
            self.evaluation(architecture)  # the exemplars may be too few, for example
        except GraphError as error:  # shows only with the models that the user chose
            raise RejectedError(error.reason, file=error.file, path=error.path) from None
        expected = estimate(architecture, self._expectation).expected
        amounts = {"tokens": expected.tokens, "calls": expected.calls}
        return TrialCandidate(digest_of(spec), amounts, architecture)

    async def measure(self, candidate: TrialCandidate, trial: int, num_items: int) -> Measured:
        assert candidate.architecture is not None
        folder, is_cut = RunFolder.resume(self.folder / f"{trial:04d}"), False
        try:
            await evaluate(
                self.evaluation(candidate.architecture),
                folder,
                pool=self.pool,
                num_items=num_items,
                keep_errors=True,  # the results of earlier rungs must not change
                max_errors=1.0,  # the study itself stops after trials in which every item failed
                on_progress=self._watch,
            )
        except _LimitBrokenError:
            is_cut = True
        found = measured(folder.path, self.items[:num_items])
        if self.needs_compute and any(result.compute is None for result in found.results):
            raise UsageError(_unknown_models(folder.path))
        return replace(found, is_cut=is_cut)

    def _watch(self, progress: EvalProgress) -> None:
        if self.on_progress is not None:
            self.on_progress(progress)
        tally = progress.tally
        sums = {"tokens": tally.cost_tokens, "seconds": tally.answer_seconds}
        if tally.compute.total is not None:
            sums["compute"] = tally.compute.total
        if self.limits.is_surely_broken(sums, self.num_items):
            raise _LimitBrokenError


def _unknown_models(path: Path) -> str:
    """Return a message that names the models of a run whose compute is unknown."""
    models = read_run(path).report().usage_by_model or {}
    return unknown_text([name for name, usage in models.items() if usage.compute is None])


class _LimitBrokenError(Exception):
    """Raised to end an evaluation that exceeds a limit; the finished answers are kept."""


def measured(path: Path, items: Sequence[Item]) -> Measured:
    """Read the results of a run on the given items, except for items without an answer yet."""
    records = {record.item: record for record in read_run(path).records()}
    asked = [records[item.id] for item in items if item.id in records]
    return Measured(
        [_item_result(record) for record in asked],
        sum(record.usage.generated_tokens for record in records.values()),
        sum(record.usage.completion_tokens for record in records.values()),
        sum(record.cost_tokens for record in records.values()),
        str(path),
        next((record.error for record in asked if record.error is not None), None),
    )


def _item_result(record: Record) -> ItemResult:
    failed = record.error is not None
    compute = 0 if failed else record.compute  # like the other costs of a failure
    return ItemResult(int(record.is_right), record.cost_tokens, record.seconds, failed, compute)


def digest_of(spec: ArchitectureSpec) -> str:
    """Return a digest of an architecture without its name and description."""
    data: dict[str, Any] = spec.model_dump(mode="json", exclude={"name", "description"})
    data["nodes"] = list(data["nodes"].items())  # equal nodes sample in the order of declaration
    return digest_of_data(data)


def digest_of_data(data: Any) -> str:
    """Return a digest of JSON data."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
