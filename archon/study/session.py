"""A search session from its preparation to the result: the study, the finals, the winner."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archon.answers import READING_VERSION
from archon.errors import UsageError
from archon.evals.benchmarks import SPLITS
from archon.evals.benchmarks.opening import Benchmark
from archon.evals.runner import Evaluation
from archon.graph.architecture import Architecture
from archon.graph.exemplars import DEFAULT_POOL
from archon.lm.pool import DrawPool
from archon.spec.architecture import ArchitectureSpec
from archon.spec.messages import shown, suggestion
from archon.spec.reader import load_architecture
from archon.storage.atomic import write_json
from archon.study.finals import Finals, SplitItems, Splits, warnings_of
from archon.study.finals_lease import (
    claimed,
    finals_of,
    has_failed_items,
    keep_finals,
    num_tested,
)
from archon.study.objectives import IN_SPACE, SearchLimits
from archon.study.result import SearchResult, named_pool, plain, row_of, said_of
from archon.study.samplers import make_sampler
from archon.study.search_config import SearchConfig, SearchListeners, pruner
from archon.study.space import Point, RejectedError, Space, check
from archon.study.storage import (
    DATABASE,
    is_for_one,
    opened_study,
    public_url,
    safe_name,
    sqlite_url,
    study_folder,
)
from archon.study.study import Search
from archon.study.trial_evaluation import Architectures, digest_of_data
from archon.study.trials import StudyCost, TrialRecord, counted, front, ranked, records
from archon.study.warm_start import point_of
from archon.study.workers import Worker

if TYPE_CHECKING:
    import optuna


def prepare(
    space: Space,
    config: SearchConfig,
    load: Callable[[ArchitectureSpec], Architecture],
    open_split: Callable[[str, int | None], Benchmark],
) -> SearchSession:
    """Check everything that a search needs, before the first trial.

    Parameters
    ----------
    open_split
        (split, number of items) → the first items of a split of the benchmark.

    Raises
    ------
    SpecError, GraphError
        A file is wrong, or a point of the space is no architecture.
    UsageError
        A number makes no sense, or a name is unknown.
    MissingExtraError
        Optuna is not installed (the extra ``search``).
    """
    if config.trials < 1:
        raise UsageError(f"a search needs at least one trial, not {config.trials}")
    make_sampler(config.sampler, config.seed)
    _check_roles(space, config.models)
    check(space, load)
    found = {
        split: open_split(split, config.limit if split == "search" else config.final_limit)
        for split in SPLITS
    }
    # One fixed random order, so that a rung is a sample of all kinds of items.
    items = list(found["search"].items)
    random.Random(0).shuffle(items)
    found["search"] = replace(found["search"], items=items)
    splits = Splits(**{split: _split_items(found[split], config.seed) for split in SPLITS})
    for split in (splits.search, splits.select, splits.test):
        split.evaluation(load(_one(space)))  # what is wrong with the items shows now
    card = found["search"].selection.card
    return SearchSession(
        config=config,
        space=space,
        load=load,
        splits=splits,
        name=config.study or _new_name(space.name, card.name),
        identity={
            "version": 1,
            "reading": READING_VERSION,
            "space": space.spec.source,
            "models": {role: str(model) for role, model in config.models.items()},
            "benchmark": card.model_dump(mode="json"),
            "items": [item.id for item in items],
            "objectives": list(config.objectives),
            "limits": config.limits.given,
            "seed": config.seed,
        },
        warm_start=[point_of(space, load_architecture(ref).spec) for ref in config.warm_start],
        finish=_finisher(space, found["search"], config.models),
    )


def _split_items(found: Benchmark, seed: int) -> SplitItems:
    return SplitItems(
        found.items, lambda architecture: Evaluation.of(architecture, found, seed=seed)
    )


@dataclass
class SearchSession:
    """One session of work at a search: its trials, the finals, the result."""

    config: SearchConfig
    space: Space
    load: Callable[[ArchitectureSpec], Architecture]
    splits: Splits
    name: str
    """Of the study."""
    identity: Mapping[str, Any]
    """Tells studies apart: workers that differ in it do not mix."""
    warm_start: Sequence[Point]
    finish: Callable[[ArchitectureSpec, str], ArchitectureSpec]
    """Makes the winner's file of an architecture and the evidence for it."""
    listeners: SearchListeners = field(default_factory=SearchListeners)
    _pool: DrawPool | None = None

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return study_folder(self.name)

    @property
    def storage(self) -> str:
        """URL of the database."""
        return self.config.storage or sqlite_url(self.folder / DATABASE)

    async def run(self) -> SearchResult:
        """Search, choose, test.

        Raises
        ------
        UsageError
            The study exists already, or is of something else, or the storage, the folder or the
            place of the winner's file is unavailable.
        StorageError
            The disk or the database rejects what is finished.
        LMError
            Nothing was answered in several trials in a row.
        """
        self._check_places()
        with DrawPool() if self.config.uses_pool else contextlib.nullcontext() as self._pool:
            return await self._run()

    async def _run(self) -> SearchResult:
        config = self.config
        with opened_study(
            self.storage,
            self.name,
            self.identity,
            config.directions,
            make_sampler(config.sampler, config.seed),
            pruner(config),
            resume=config.resume,
        ) as study:
            if self.listeners.before_trials is not None:
                self.listeners.before_trials()
            num_known = len(study.get_trials(deepcopy=False))
            is_alone = is_for_one(self.storage)
            worker = Worker(study, is_alone)
            if num_known or not is_alone:  # the same seed would propose the same again
                seed = random.Random(f"{config.seed}/{num_known}/{'' if is_alone else worker.name}")
                study.sampler = make_sampler(config.sampler, seed.getrandbits(31))
            subject = Architectures(
                self.space,
                self.load,
                self.splits.search.evaluation,
                self.splits.search.items,
                self.folder / "trials",
                self._pool,
                config.limits if config.stops_early else SearchLimits(),
                self.listeners.on_progress,
            )
            search = Search(config, self.space, subject, study, worker, self.listeners.on_event)
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
        told, objectives = records(study), self.config.objectives
        found = front(told, objectives)
        best = found if len(objectives) > 1 else ranked(told, objectives)
        distinct = {record.digest: record for record in reversed(best)}.values()
        finalists = list(reversed(distinct))[: self.config.finalists]
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
        items = [
            [item.id for item in split.items] for split in (self.splits.select, self.splits.test)
        ]
        return digest_of_data([[record.number for record in finalists], items])

    async def _hold(
        self, told: Sequence[TrialRecord], finalists: Sequence[TrialRecord]
    ) -> dict[str, Any]:
        finals = Finals(
            self.load,
            self.splits,
            self.folder,
            self._pool,
            self.config.objectives,
            self.listeners.on_run,
        )
        chosen = await finals.chosen([(r.number, self.space.build(r.point)) for r in finalists])
        first = chosen[0]
        test, row = await finals.final_test(first.trial, first.spec)
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
        cost = StudyCost.of(told, len(self.splits.search.items))
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
        return self.folder / "best.json" if self.config.output is None else self.config.output


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


def _one(space: Space) -> ArchitectureSpec:
    """The architecture of some point; there is one, as the space has been checked."""
    rng = random.Random(0)
    while True:
        with contextlib.suppress(RejectedError):
            return space.build(space.random_point(rng))


def _finisher(
    space: Space, found: Benchmark, models: Mapping[str, Any]
) -> Callable[[ArchitectureSpec, str], ArchitectureSpec]:
    """Names the winner, its exemplar pool and its kind of answer, and the models put in."""
    card = found.selection.card
    pool = DEFAULT_POOL if card.examples is None else card.examples
    if "/" in pool or pool.endswith((".json", ".jsonl")):
        pool = str(found.base_dir / pool)

    def finish(spec: ArchitectureSpec, said: str) -> ArchitectureSpec:
        named = {
            role: os.fspath(model)
            for role, model in models.items()
            if role in spec.models and isinstance(model, str | os.PathLike)
        }
        own = {
            "name": f"{space.name}-best",
            "description": said,
            "answer": card.answer,
            "models": {**spec.models, **named},
        }
        return named_pool(spec, pool).model_copy(update=own)

    return finish


def _check_roles(space: Space, models: Mapping[str, Any]) -> None:
    roles = space.spec.data.get("models")
    if not isinstance(roles, dict):
        return
    for role in models:
        if role not in roles:
            raise UsageError(
                f"no role {shown(role)} in the space {space.name}{suggestion(role, sorted(roles))}"
            )


def _new_name(space: str, benchmark: str) -> str:
    return (
        f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{safe_name(space)}-{safe_name(benchmark)}"
    )
