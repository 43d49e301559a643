"""Evaluation of a trial: a point becomes an architecture, which is asked its first items."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from archon.errors import GraphError
from archon.evals.benchmarks import Item
from archon.evals.folder import RunFolder
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
    """The architecture of a point, ready to be tried."""

    digest: str
    """Equal for points that come to the same architecture."""
    estimate: Mapping[str, float]
    """``tokens`` and ``calls`` of an answer, as is to be expected before any is asked for."""
    architecture: Architecture | None = None


@dataclass(frozen=True)
class Measured:
    """The results of a candidate on the first items."""

    results: Sequence[ItemResult]
    """In the order of the items."""
    generated_tokens: int = 0
    completion_tokens: int = 0
    cost_tokens: int = 0
    run: str | None = None
    error: str | None = None
    """Of the first item that failed."""
    is_cut: bool = False
    """Whether it was ended before all of these items, as it breaks a limit whatever else comes;
    ``results`` are of those that were answered."""


class Subject(Protocol):
    """What a study tries: ``Architectures``, or a double of them."""

    @property
    def num_items(self) -> int: ...

    def candidate(self, point: Point) -> TrialCandidate:
        """Raises ``RejectedError`` for what is no point of the space."""
        ...

    async def measure(self, candidate: TrialCandidate, trial: int, num_items: int) -> Measured:
        """What it did on the first so many items; those that were asked before are not again."""
        ...


@dataclass
class Architectures:
    """The points of a space as architectures, asked the items of a benchmark."""

    space: Space
    load: Callable[[ArchitectureSpec], Architecture]
    evaluation: Callable[[Architecture], Evaluation]
    items: Sequence[Item]
    folder: Path
    """Holds the folder of each trial's run."""
    pool: DrawPool | None
    limits: SearchLimits = field(default_factory=SearchLimits)
    on_progress: OnProgress | None = None
    _expectation: Expectation = field(init=False)

    def __post_init__(self) -> None:
        usual = sorted(self.items, key=lambda item: len(item.question))[len(self.items) // 2]
        self._expectation = Expectation(Question(usual.question))

    @property
    def num_items(self) -> int:
        return len(self.items)

    def candidate(self, point: Point) -> TrialCandidate:
        spec = self.space.build(point)
        try:
            architecture = self.load(spec)
            self.evaluation(architecture)  # its exemplars, for instance, may be too few
        except GraphError as error:  # what only shows with the models that are put in
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
                keep_errors=True,  # results that were told must not change between rungs
                max_errors=1.0,  # the study itself ends after trials that answer nothing
                on_progress=self._watch,
            )
        except _LimitBrokenError:
            is_cut = True
        return replace(measured(folder.path, self.items[:num_items]), is_cut=is_cut)

    def _watch(self, progress: EvalProgress) -> None:
        if self.on_progress is not None:
            self.on_progress(progress)
        tally = progress.tally
        sums = {"tokens": tally.cost_tokens, "seconds": tally.answer_seconds}
        if self.limits.is_surely_broken(sums, self.num_items):
            raise _LimitBrokenError


class _LimitBrokenError(Exception):
    """Ends an evaluation; what it has answered stays."""


def measured(path: Path, items: Sequence[Item]) -> Measured:
    """What the run in a folder came to on some of its items, on those that it was asked."""
    records = {record.item: record for record in read_run(path).records()}
    asked = [records[item.id] for item in items if item.id in records]
    return Measured(
        [
            ItemResult(int(r.is_right), r.cost_tokens, r.seconds, failed=r.error is not None)
            for r in asked
        ],
        sum(record.usage.generated_tokens for record in records.values()),
        sum(record.usage.completion_tokens for record in records.values()),
        sum(record.cost_tokens for record in records.values()),
        str(path),
        next((record.error for record in asked if record.error is not None), None),
    )


def digest_of(spec: ArchitectureSpec) -> str:
    """Equal for architectures that differ in name and description only."""
    data: dict[str, Any] = spec.model_dump(mode="json", exclude={"name", "description"})
    data["nodes"] = list(data["nodes"].items())  # equal nodes draw in the order of declaration
    return digest_of_data(data)


def digest_of_data(data: Any) -> str:
    """Equal for equal plain data."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
