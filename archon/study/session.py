"""A search from its first trial to the last word: the study, the finals, the result."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archon.errors import UsageError
from archon.evals.runner import OnProgress
from archon.graph.architecture import Architecture
from archon.lm.pool import DrawPool
from archon.spec.architecture import ArchitectureSpec
from archon.storage.atomic import write_json
from archon.study.finals import Finals, OnRun, SplitItems, warnings_of
from archon.study.finals_lease import (
    claimed,
    finals_of,
    has_failed_items,
    keep_finals,
    num_tested,
)
from archon.study.objectives import IN_SPACE, Limits
from archon.study.result import SearchResult, plain, row_of, said_of
from archon.study.samplers import make_sampler
from archon.study.search_config import OnStudyEvent, Plan, pruner
from archon.study.space import Point, Space
from archon.study.storage import is_for_one, opened_study, public_url
from archon.study.study import Search
from archon.study.trial_evaluation import Architectures, digest_of_data
from archon.study.trials import StudyCost, TrialRecord, counted, front, ranked, records
from archon.study.workers import Worker

if TYPE_CHECKING:
    import optuna


@dataclass
class Session:
    """Everything that a search is made of.

    ``identity`` tells studies apart: workers that differ in it do not mix.
    """

    space: Space
    plan: Plan
    load: Callable[[ArchitectureSpec], Architecture]
    search: SplitItems
    select: SplitItems
    test: SplitItems
    name: str
    folder: Path
    storage: str
    identity: Mapping[str, Any]
    resume: bool = False
    warm_start: Sequence[Point] = ()
    num_finalists: int = 5
    output: Path | None = None
    finish: Callable[[ArchitectureSpec, str], ArchitectureSpec] = lambda spec, _: spec
    """Makes the winner's file of it; takes what is to be said of it."""
    pool: DrawPool | None = None
    before_trials: Callable[[], None] | None = None
    """Called once it is clear that the study can go on, to open models for instance."""
    on_event: OnStudyEvent | None = None
    on_progress: OnProgress | None = None
    on_run: OnRun | None = None

    async def run(self) -> SearchResult:
        """Search, choose, test.

        Raises
        ------
        UsageError : the study is there already, or of something else, or the storage, the folder or
            the place of the winner's file is not to be had.
        StorageError : the disk or the database does not take what is finished.
        LMError : nothing was answered in several trials in a row.
        """
        self._check_places()
        plan = self.plan
        with opened_study(
            self.storage,
            self.name,
            self.identity,
            plan.directions,
            make_sampler(plan.sampler, plan.seed),
            pruner(plan),
            resume=self.resume,
        ) as study:
            if self.before_trials is not None:
                self.before_trials()
            seen = len(study.get_trials(deepcopy=False))
            is_alone = is_for_one(self.storage)
            worker = Worker(study, is_alone)
            if seen or not is_alone:  # the same seed would propose the same again
                seed = random.Random(f"{plan.seed}/{seen}/{'' if is_alone else worker.name}")
                study.sampler = make_sampler(plan.sampler, seed.getrandbits(31))
            subject = Architectures(
                self.space,
                self.load,
                self.search.evaluation,
                self.search.items,
                self.folder / "trials",
                self.pool,
                plan.limits if plan.stops_early else Limits(),
                self.on_progress,
            )
            search = Search(plan, self.space, subject, study, worker, self.on_event)
            search.enqueue(self.warm_start)
            await search.run()
            return await self._finish(study, worker)

    def _check_places(self) -> None:
        """Make the study's folder; see that the winner's file can go where it is to."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = f"cannot make the study's folder {self.folder}: {error.strerror}"
            raise UsageError(reason) from None
        if self._output.is_dir():
            raise UsageError(f"{self._output} is a folder; --output takes the winner's file")
        if not self._output.parent.is_dir():
            raise UsageError(f"there is no folder {self._output.parent} for the winner's file")

    async def _finish(self, study: optuna.Study, worker: Worker) -> SearchResult:
        """The finals, if these very ones were not held before, and what all of it came to."""
        told, objectives = records(study), self.plan.objectives
        found = front(told, objectives)
        best = found if len(objectives) > 1 else ranked(told, objectives)
        distinct = {record.digest: record for record in reversed(best)}.values()
        finalists = list(reversed(distinct))[: self.num_finalists]
        leader = best[0] if best else None
        if not finalists:
            result = self._result(told, found, leader, [])
            return result if best else replace(result, warnings=[_why_nothing(study, told)])
        asked = self._asked(finalists)
        held = finals_of(study)
        if not _are_finished(held, asked):
            async with claimed(study, worker, self.storage) as is_ours:
                held = finals_of(study)  # another may have held them meanwhile
                if not is_ours:
                    result = self._result(told, found, leader, [], saves=False)
                    said = "another worker chooses among the finalists and writes the winner's file"
                    return replace(result, warnings=[*result.warnings, said])
                if not _are_finished(held, asked):
                    entry = {"asked": asked, **await self._hold(told, finalists)}
                    held = keep_finals(study, entry)
        winner = next(record for record in finalists if record.number == held[-1]["winner"])
        return self._result(told, found, winner, held)

    def _asked(self, finalists: Sequence[TrialRecord]) -> str:
        """Equal for finals of the same trials on the same items."""
        items = [[item.id for item in split.items] for split in (self.select, self.test)]
        return digest_of_data([[record.number for record in finalists], items])

    async def _hold(
        self, told: Sequence[TrialRecord], finalists: Sequence[TrialRecord]
    ) -> dict[str, Any]:
        finals = Finals(
            self.load,
            self.select,
            self.test,
            self.folder,
            self.pool,
            self.plan.objectives,
            self.on_run,
        )
        chosen = await finals.chosen([(r.number, self.space.build(r.point)) for r in finalists])
        first = chosen[0]
        test, row = await finals.last_word(first.trial, first.spec)
        winner = next(record for record in finalists if record.number == first.trial)
        said = said_of(self.name, winner, first.report, test, row)
        reports = [*(finalist.report for finalist in chosen), test]
        return {
            "num_trials": counted(told),
            "end_time": datetime.now(UTC).isoformat(timespec="seconds"),
            "finalists": [finalist.to_json() for finalist in chosen],
            "winner": first.trial,
            "architecture": plain(self.finish(first.spec, said)),
            "select": first.report.to_json(),
            "test": test.to_json(),
            "equal_cost": row,
            "generated_tokens": sum(report.usage.generated_tokens for report in reports),
            "cost_tokens": sum(report.total_cost_tokens for report in reports),
        }

    def _result(
        self,
        told: Sequence[TrialRecord],
        found: Sequence[TrialRecord],
        winner: TrialRecord | None,
        held: Sequence[Mapping[str, Any]],
        *,
        saves: bool = True,
    ) -> SearchResult:
        """What is told of the trials, and of the last of the finals where some were held."""
        cost = StudyCost.of(told, len(self.search.items))
        last: Mapping[str, Any] = held[-1] if held else {}
        best: dict[str, Any] | None = None
        warnings: list[str] = []
        if winner is not None:
            architecture = last.get("architecture")
            if architecture is None:
                said = said_of(self.name, winner)
                architecture = plain(self.finish(self.space.build(winner.point), said))
            else:
                accuracy = winner.values["accuracy"]
                warnings = warnings_of(accuracy, last["test"], last["equal_cost"], num_tested(held))
            if saves:
                write_json(self._output, {"version": 1, **architecture})
            best = {
                "trial": winner.number,
                "choices": dict(winner.point),
                "architecture": architecture,
            }
        num_of = Counter(record.outcome for record in told)
        return SearchResult(
            study=self.name,
            storage=public_url(self.storage),
            num_trials=counted(told),
            num_stopped=num_of["stopped"],
            num_rejected=num_of["rejected"],
            num_failed=num_of["failed"],
            best=best,
            front=[row_of(record) for record in found],
            search=None if winner is None else {**row_of(winner), "num_items": len(winner.results)},
            select=last.get("select"),
            test=last.get("test"),
            equal_cost=last.get("equal_cost"),
            num_tested=num_tested(held),
            generated_tokens=cost.generated_tokens + last.get("generated_tokens", 0),
            cost_tokens=cost.cost_tokens + last.get("cost_tokens", 0),
            trials_tokens={
                "generated": cost.generated_tokens,
                "without_pool": cost.without_pool_tokens,
                "without_pool_and_stopping": cost.without_both_tokens,
            },
            warnings=warnings,
            output=str(self._output) if winner is not None and saves else None,
        )

    @property
    def _output(self) -> Path:
        return self.folder / "best.json" if self.output is None else self.output


def _are_finished(held: Sequence[Mapping[str, Any]], asked: str) -> bool:
    """Whether the last finals are those that are asked for, and no item of theirs failed."""
    return bool(held) and held[-1]["asked"] == asked and not has_failed_items(held[-1])


def _why_nothing(study: optuna.Study, told: Sequence[TrialRecord]) -> str:
    """Why there is no winner; where nothing was asked at all, what was nearest to being asked."""
    rejected = [record for record in told if record.outcome == "rejected"]
    if not rejected or counted(told):
        return "no trial saw every item within the limits, so nothing was found"
    trials = study.get_trials(deepcopy=False)

    def excess(record: TrialRecord) -> tuple[float, float]:
        above = trials[record.number].constraints
        is_none = above.get(IN_SPACE, 0.0)  # such a point no other limit would help
        return is_none, sum(max(0.0, share) for share in above.values())

    nearest = min(rejected, key=excess)
    return (
        f"nothing was asked, as all {len(rejected)} points that came up were rejected; the nearest "
        f"to being asked is that of trial {nearest.number}: {nearest.reason}"
    )
