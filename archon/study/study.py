"""The loop of a study: propose a configuration, evaluate it rung by rung, store the result."""

from __future__ import annotations

import asyncio
import random
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from archon.errors import LMError, SpecError, require
from archon.study.objectives import COSTS, IN_SPACE, ItemResult
from archon.study.samplers import LEARNS_FROM_PRUNED
from archon.study.search_config import (
    OnStudyEvent,
    SearchConfig,
    StudyEvent,
    TrialFinished,
    TrialStarted,
)
from archon.study.space import Space
from archon.study.stopping import dominating, is_worse, predicted, rungs
from archon.study.trial_evaluation import Subject, TrialCandidate
from archon.study.trials import RECORD, TrialRecord, candidates_for_best, counted, front, records
from archon.study.workers import RETRY_OF, Worker, give_back

if TYPE_CHECKING:
    import optuna
    from optuna.trial import Trial

MAX_FRUITLESS = 200
"""The search ends after this many consecutive rejected or repeated configurations."""
MAX_FAILED = 3
"""The search fails after this many consecutive trials in which every item failed."""
WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class _Finished:
    """A finished trial: its record, and the data that the sampler learns from."""

    record: TrialRecord
    values: Sequence[float] | None = None
    """A value per objective; None means the values of the record."""
    excess: Mapping[str, float] | None = None
    """Constraint → excess; None means that it is computed from the record's results."""


@dataclass
class Search:
    """The search loop of one worker."""

    config: SearchConfig
    space: Space
    subject: Subject
    study: optuna.Study
    worker: Worker
    on_event: OnStudyEvent | None = None
    _num_fruitless: int = 0
    _num_failed: int = 0
    _records: dict[int, TrialRecord] = field(default_factory=dict)

    async def run(self) -> str | None:
        """Run trials until the study has the planned number, or no new configuration is left.

        Returns
        -------
        The reason why the study has fewer trials than planned; None if it has all of them.

        Raises
        ------
        LMError
            Every item failed in several trials in a row.
        """
        while True:
            self.worker.take_over_stale()
            past = records(self.study, self._records)
            num_running = self._num_in("RUNNING")
            if counted(past) >= self.config.trials:
                return None
            if (reason := self._exhausted(past)) is not None:
                return reason
            is_drained = self.config.sampler == "exhaustive" and not self._num_in("WAITING")
            if is_drained and not num_running:
                return self._tried(past)
            if is_drained or counted(past) + num_running >= self.config.trials:
                await asyncio.sleep(WAIT_SECONDS)  # another worker may die and leave its trial
            else:
                await self._run_trial(past)

    def _exhausted(self, past: Sequence[TrialRecord]) -> str | None:
        """Return why no new configuration can be expected; None if the search should continue."""
        if self._num_fruitless and self._are_all_tried(past):
            return self._tried(past)
        if self._num_fruitless >= MAX_FRUITLESS:
            return (
                f"the last {MAX_FRUITLESS} proposed configurations were rejected or repeated an "
                "earlier architecture"
            )
        return None

    def _are_all_tried(self, past: Sequence[TrialRecord]) -> bool:
        if self._num_points is None:
            return False
        allowed = (r.point for r in past if self.space.forbidding(r.point) is None)
        return len({tuple(sorted(point.items())) for point in allowed}) >= self._num_points

    def _tried(self, past: Sequence[TrialRecord]) -> str:
        """Return the reason that no configuration is left to try."""
        outcomes = Counter[str](record.outcome for record in past)
        names = [name for name in ("rejected", "repeated") if outcomes[name]]
        fruitless = ", ".join(f"{outcomes[name]} {name}" for name in names)
        counts = f" ({fruitless})" if fruitless else ""
        if self._are_all_tried(past):
            return f"all {self._num_points} configurations of the space were tried{counts}"
        return (
            f"the configurations that the study enqueued at its start were all tried{counts}; "
            "start a new study to try others"
        )

    @cached_property
    def _num_points(self) -> int | None:
        return self.space.count()

    def enqueue(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Enqueue the configurations that a new study tries first; do nothing for an old study."""
        if self.study.get_trials(deepcopy=False):
            return
        queue = list(points)
        if self.config.sampler == "exhaustive":
            others = [point for point in self.space.points() if point not in points]
            random.Random(self.config.seed).shuffle(others)
            queue += others[: max(0, self.config.trials - len(points))]
        for point in queue:
            self.study.enqueue_trial(dict(point))

    async def _run_trial(self, past: Sequence[TrialRecord]) -> None:
        with warnings.catch_warnings(action="ignore"):
            trial = self.study.ask()
            point = self.space.suggest(trial)
        async with self.worker.beating(trial):
            try:
                finished = await self._evaluate(trial, point, past)
                self._store(trial, finished)
                self._count(finished.record)
            except BaseException:
                give_back(self.study, trial)
                raise

    async def _evaluate(
        self, trial: Trial, point: Mapping[str, Any], past: Sequence[TrialRecord]
    ) -> _Finished:
        try:
            candidate = self.subject.candidate(point)
        except (
            SpecError
        ) as error:  # a ``RejectedError``, or an error that the check of the space missed
            return self._rejected(trial, point, str(error), {IN_SPACE: 1.0}, past)
        excess = self.config.limits.excess(candidate.estimate)
        reasons = [
            f"{candidate.estimate[name]:.0f} {name} per answer are expected, above the limit of "
            f"{self.config.limits.given[name]:g}"
            for name, share in excess.items()
            if share > 0
        ]
        if reasons:
            return self._rejected(trial, point, ", ".join(reasons), excess, past)
        for other in past:
            if other.digest == candidate.digest and other.outcome in ("whole", "stopped"):
                return self._repeated(trial, point, other)
        self._event(TrialStarted(trial.number, point))
        return await self._measure(trial, point, candidate, past)

    async def _measure(
        self,
        trial: Trial,
        point: Mapping[str, Any],
        candidate: TrialCandidate,
        past: Sequence[TrialRecord],
    ) -> _Finished:
        """Evaluate a candidate rung by rung, until all items are done or it is stopped."""
        folder = trial.user_attrs.get(RETRY_OF, trial.number)
        objectives, limits = self.config.objectives, self.config.limits
        best = front(past, objectives) if len(objectives) > 1 else candidates_for_best(past)
        references, seen = {record.number: record.results for record in best}, 0
        for size in rungs(self.subject.num_items):
            measured = await self.subject.measure(candidate, folder, size)
            results, is_last = measured.results, size == self.subject.num_items
            record = partial(
                TrialRecord.of_measured, trial.number, point, candidate.digest, measured
            )
            is_broken = self.config.stops_early and limits.is_likely_broken(results)
            if measured.is_cut or (is_broken and not is_last):
                amounts = ", ".join(f"{limit:g} {name}" for name, limit in limits.given.items())
                return _Finished(record("stopped", f"above the limit of {amounts} per answer"))
            if all(result.failed for result in results):
                return _Finished(record("failed"))
            self._report(trial, results, seen)
            seen = size
            if not is_last and (by := self._stopper(results, references)) is not None:
                values = predicted(results, references[by], objectives)
                return _Finished(record("stopped", f"significantly worse than trial {by}"), values)
        return _Finished(record("whole"))

    def _report(self, trial: Trial, results: Sequence[ItemResult], seen: int) -> None:
        """Report the results to Optuna, except for the first ``seen`` of them.

        Its dashboard draws them.
        """
        if len(self.config.objectives) == 1:
            for i in range(seen, len(results)):
                trial.report(getattr(results[i], self.config.objectives[0]), i)

    def _stopper(
        self, results: Sequence[ItemResult], references: Mapping[int, Sequence[ItemResult]]
    ) -> int | None:
        """Return the complete trial that makes this trial hopeless; None if it should continue."""
        if not self.config.stops_early or not references:
            return None
        if len(self.config.objectives) > 1:
            return dominating(results, references, self.config.objectives)
        try:
            best = self.study.best_trial.number
        except ValueError:  # no trial keeps the limits
            return None
        if best not in references:
            return None
        [objective] = self.config.objectives
        return best if is_worse(results, references[best], objective) else None

    def _rejected(
        self,
        trial: Trial,
        point: Mapping[str, Any],
        reason: str,
        excess: Mapping[str, float],
        past: Sequence[TrialRecord],
    ) -> _Finished:
        record = TrialRecord(trial.number, "rejected", point, reason=reason, is_feasible=False)
        if LEARNS_FROM_PRUNED[self.config.sampler]:
            return _Finished(record, excess=excess)
        # The sampler ignores trials without values. The mean of the others is a neutral value.
        best = candidates_for_best(past)
        values = [
            sum(r.values[name] for r in best) / len(best) if best else 0.0
            for name in self.config.objectives
        ]
        return _Finished(record, values, excess)

    def _repeated(self, trial: Trial, point: Mapping[str, Any], first: TrialRecord) -> _Finished:
        stored = self.study.get_trials(deepcopy=False)[first.number]
        reason = f"same architecture as trial {first.number}"
        record = TrialRecord(trial.number, "repeated", point, first.digest, reason)
        record = replace(record, is_feasible=first.is_feasible)
        return _Finished(record, stored.values, stored.constraints)

    def _store(self, trial: Trial, finished: _Finished) -> None:
        """Store a finished trial, unless another worker took it over and finished it first."""
        optuna = require("optuna", "search")
        states = optuna.trial.TrialState
        record, values, excess = finished.record, finished.values, finished.excess
        if record.results:
            means = {name: record.values[name] for name in COSTS if name in record.values}
            excess = self.config.limits.excess(means)
            record = replace(record, is_feasible=all(share <= 0 for share in excess.values()))
            if values is None and record.outcome != "failed":
                values = [record.values[name] for name in self.config.objectives]
        state = states.PRUNED if values is None else states.COMPLETE
        if record.outcome == "failed":
            state = states.FAIL
        try:
            self._constrain(trial, excess or {})
            trial.set_user_attr(RECORD, record.to_attribute())
            with warnings.catch_warnings(action="ignore"):
                self.study.tell(trial, values if values is None else list(values), state)
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
            return
        self._event(TrialFinished(record))

    def _constrain(self, trial: Trial, excess: Mapping[str, float]) -> None:
        """Set the value of every constraint, because Optuna needs the same ones in all trials."""
        if self.space.spec.forbidden or IN_SPACE in excess:
            trial.set_constraint(IN_SPACE, excess.get(IN_SPACE, 0.0))
        for name in self.config.limits.given:
            trial.set_constraint(name, excess.get(name, 0.0))

    def _count(self, record: TrialRecord) -> None:
        """Count consecutive trials without a new architecture, and those without an answer.

        Raises
        ------
        LMError
            Every item failed in ``MAX_FAILED`` trials in a row.
        """
        if record.outcome in ("rejected", "repeated"):
            self._num_fruitless += 1
            return
        self._num_fruitless = 0
        self._num_failed = self._num_failed + 1 if record.outcome == "failed" else 0
        if self._num_failed >= MAX_FAILED:
            raise LMError(f"every item failed in {MAX_FAILED} trials in a row: {record.reason}")

    def _num_in(self, state: str) -> int:
        states = require("optuna", "search").trial.TrialState
        return len(self.study.get_trials(deepcopy=False, states=(states[state],)))

    def _event(self, event: StudyEvent) -> None:
        if self.on_event is not None:
            self.on_event(event)
