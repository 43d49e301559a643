"""The loop of a study: ask for a point, try it on growing rungs, tell the result."""

from __future__ import annotations

import asyncio
import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from archon.errors import LMError, SpecError, require
from archon.study.objectives import IN_SPACE, ItemResult
from archon.study.samplers import LEARNS_FROM_PRUNED
from archon.study.search_config import (
    OnStudyEvent,
    SearchConfig,
    StudyEvent,
    TrialFinished,
    TrialStarted,
)
from archon.study.space import Space
from archon.study.stopping import dominating, predicted, rungs
from archon.study.trial_evaluation import Measured, Subject, TrialCandidate
from archon.study.trials import (
    TOLD,
    TrialRecord,
    candidates_for_best,
    counted,
    front,
    recorded,
    records,
)
from archon.study.workers import RETRY_OF, Worker, give_back

if TYPE_CHECKING:
    import optuna
    from optuna.trial import Trial

MAX_FRUITLESS = 200
"""So many points in a row that are none or were tried before, and the search is at its end."""
MAX_FAILED = 3
"""So many trials in a row in which nothing was answered, and something is wrong."""
WAIT_SECONDS = 1.0


@dataclass
class Search:
    """The loop of one worker of a study."""

    config: SearchConfig
    space: Space
    subject: Subject
    study: optuna.Study
    worker: Worker
    on_event: OnStudyEvent | None = None
    _num_fruitless: int = 0
    _num_failed: int = 0
    _known: dict[int, TrialRecord] = field(default_factory=dict)

    async def run(self) -> None:
        """Make trials until there are as many as planned.

        Raises
        ------
        LMError
            Nothing was answered in several trials in a row.
        """
        while True:
            self.worker.take_over_stale()
            told = records(self.study, self._known)
            num_running = self._num_in("RUNNING")
            if counted(told) >= self.config.trials or self._is_exhausted(told):
                return
            if self.config.sampler == "exhaustive" and not self._num_in("WAITING"):
                if not num_running:
                    return
                await asyncio.sleep(WAIT_SECONDS)
            elif counted(told) + num_running >= self.config.trials:
                await asyncio.sleep(WAIT_SECONDS)  # another may yet be found stale
            else:
                await self._one(told)

    def _is_exhausted(self, told: Sequence[TrialRecord]) -> bool:
        """Whether there is nothing new to be found, or it was not in many points in a row."""
        if self._num_fruitless >= MAX_FRUITLESS:
            return True
        if not self._num_fruitless or self._num_points is None:
            return False
        known = {tuple(sorted(r.point.items())) for r in told if not self._is_forbidden(r.point)}
        return len(known) >= self._num_points

    def _is_forbidden(self, point: Mapping[str, Any]) -> bool:
        return self.space.forbidding(point) is not None

    @cached_property
    def _num_points(self) -> int | None:
        return self.space.count()

    def enqueue(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Have these points tried first, where the study is new."""
        if self.study.get_trials(deepcopy=False):
            return
        for point in points:
            self.study.enqueue_trial(dict(point))
        if self.config.sampler == "exhaustive":
            left = [point for point in self.space.points() if point not in points]
            random.Random(self.config.seed).shuffle(left)
            for point in left[: max(0, self.config.trials - len(points))]:
                self.study.enqueue_trial(point)

    async def _one(self, told: Sequence[TrialRecord]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial = self.study.ask()
            point = self.space.suggest(trial)
        async with self.worker.beating(trial):
            try:
                await self._try(trial, point, told)
            except BaseException:
                give_back(self.study, trial)
                raise

    async def _try(
        self, trial: Trial, point: Mapping[str, Any], told: Sequence[TrialRecord]
    ) -> None:
        try:
            candidate = self.subject.candidate(point)
        except SpecError as error:  # a ``RejectedError``, or what the check of the space missed
            self._reject(trial, point, str(error), {IN_SPACE: 1.0}, told)
            return
        excess = self.config.limits.excess(candidate.estimate)
        above = [name for name, share in excess.items() if share > 0]
        if above:
            reasons = [
                f"{candidate.estimate[name]:.0f} {name} are expected, more than "
                f"{self.config.limits.given[name]:g}"
                for name in above
            ]
            self._reject(trial, point, ", ".join(reasons), excess, told)
            return
        same = [
            r for r in told if r.digest == candidate.digest and r.outcome in ("whole", "stopped")
        ]
        if same:
            self._repeat(trial, point, same[0])
            return
        self._num_fruitless = 0
        self._event(TrialStarted(trial.number, point))
        await self._measure(trial, point, candidate, told)

    async def _measure(
        self,
        trial: Trial,
        point: Mapping[str, Any],
        candidate: TrialCandidate,
        told: Sequence[TrialRecord],
    ) -> None:
        folder = trial.user_attrs.get(RETRY_OF, trial.number)
        best = candidates_for_best(told)
        if len(self.config.objectives) > 1:
            best = front(told, self.config.objectives)
        whole = {r.number: r.results for r in best}
        sizes, seen = rungs(self.subject.num_items), 0
        for size in sizes:
            measured = await self.subject.measure(candidate, folder, size)
            results = measured.results
            is_broken = size < sizes[-1] and self._breaks_limits(results)
            if measured.is_cut or is_broken:
                self._break_off(trial, point, candidate, measured)
                return
            if all(result.failed for result in results):
                self._fail(trial, point, candidate, measured)
                return
            self._num_failed = 0
            self._report(trial, results, seen)
            seen = size
            if size < sizes[-1] and (by := self._stopper(trial, results, whole)) is not None:
                values = predicted(results, whole[by], self.config.objectives)
                record = recorded(trial.number, "stopped", point, candidate.digest, measured)
                self._tell(trial, replace(record, reason=f"hopeless against trial {by}"), values)
                return
        record = recorded(trial.number, "whole", point, candidate.digest, measured)
        self._tell(trial, record, [record.values[name] for name in self.config.objectives])

    def _breaks_limits(self, results: Sequence[ItemResult]) -> bool:
        return self.config.stops_early and self.config.limits.is_likely_broken(results)

    def _break_off(
        self, trial: Trial, point: Mapping[str, Any], candidate: TrialCandidate, measured: Measured
    ) -> None:
        """Tell a trial that takes more than it may; what it has answered is its value."""
        record = recorded(trial.number, "stopped", point, candidate.digest, measured)
        given = ", ".join(f"{limit:g} {name}" for name, limit in self.config.limits.given.items())
        record = replace(record, reason=f"above the limit of {given} an answer")
        self._tell(trial, record, [record.values[name] for name in self.config.objectives])

    def _report(self, trial: Trial, results: Sequence[ItemResult], seen: int) -> None:
        """Let the pruner see the items that are new."""
        if len(self.config.objectives) > 1:
            return
        for i in range(seen, len(results)):
            trial.report(getattr(results[i], self.config.objectives[0]), i)

    def _stopper(
        self, trial: Trial, results: Sequence[ItemResult], whole: Mapping[int, Sequence[ItemResult]]
    ) -> int | None:
        """The whole trial that makes this one hopeless; None where it is to go on."""
        if not self.config.stops_early or not whole:
            return None
        if len(self.config.objectives) > 1:
            return dominating(results, whole, self.config.objectives)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not trial.should_prune():
                return None
            best = self.study.best_trial.number
        return best if best in whole else None

    # ------------------------------------------------------------------------------ telling

    def _reject(
        self,
        trial: Trial,
        point: Mapping[str, Any],
        reason: str,
        excess: Mapping[str, float],
        told: Sequence[TrialRecord],
    ) -> None:
        self._num_fruitless += 1
        record = TrialRecord(trial.number, "rejected", point, reason=reason, is_feasible=False)
        values = None
        if not LEARNS_FROM_PRUNED[self.config.sampler]:
            # Such a sampler looks at trials with values only; these say nothing.
            known = candidates_for_best(told)
            values = [
                sum(r.values[name] for r in known) / len(known) if known else 0.0
                for name in self.config.objectives
            ]
        self._tell(trial, record, values, excess)

    def _repeat(self, trial: Trial, point: Mapping[str, Any], same: TrialRecord) -> None:
        self._num_fruitless += 1
        first = self.study.get_trials(deepcopy=False)[same.number]
        record = TrialRecord(
            trial.number,
            "repeated",
            point,
            same.digest,
            f"the architecture of trial {same.number}",
            is_feasible=same.is_feasible,
        )
        self._tell(trial, record, first.values, first.constraints)

    def _fail(
        self, trial: Trial, point: Mapping[str, Any], candidate: TrialCandidate, measured: Measured
    ) -> None:
        record = recorded(trial.number, "failed", point, candidate.digest, measured)
        self._tell(trial, record, None)
        self._num_failed += 1
        if self._num_failed >= MAX_FAILED:
            raise LMError(f"{MAX_FAILED} trials in a row answered nothing: {measured.error}")

    def _tell(
        self,
        trial: Trial,
        record: TrialRecord,
        values: Sequence[float] | None,
        excess: Mapping[str, float] | None = None,
    ) -> None:
        """Tell a trial once: one that has been taken over meanwhile is another's to tell."""
        optuna = require("optuna", "search")
        state = optuna.trial.TrialState
        if excess is None and record.results:
            measured = {name: record.values[name] for name in ("tokens", "seconds")}
            excess = self.config.limits.excess(measured)
            record = replace(record, is_feasible=all(share <= 0 for share in excess.values()))
        told_state = state.COMPLETE if values is not None else state.PRUNED
        if record.outcome == "failed":
            told_state = state.FAIL
        try:
            self._constrain(trial, excess or {})
            trial.set_user_attr(TOLD, record.to_attribute())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.study.tell(trial, values if values is None else list(values), told_state)
        except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
            return
        self._event(TrialFinished(record))

    def _constrain(self, trial: Trial, excess: Mapping[str, float]) -> None:
        """Tell every constraint of the search, so that all trials have the same."""
        if self.space.spec.forbidden or IN_SPACE in excess:
            trial.set_constraint(IN_SPACE, excess.get(IN_SPACE, 0.0))
        for name in self.config.limits.given:
            trial.set_constraint(name, excess.get(name, 0.0))

    def _num_in(self, state: str) -> int:
        states = require("optuna", "search").trial.TrialState
        return len(self.study.get_trials(deepcopy=False, states=(states[state],)))

    def _event(self, event: StudyEvent) -> None:
        if self.on_event is not None:
            self.on_event(event)
