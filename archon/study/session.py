"""A search session: checks, trials, the finals, and the file of the winner."""

from __future__ import annotations

import contextlib
import itertools
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
from archon.answers.kinds import ANSWER_TYPES
from archon.errors import UsageError
from archon.evals.benchmarks import SPLITS
from archon.evals.benchmarks.opening import Benchmark
from archon.graph.absolute_paths import absolute_model
from archon.graph.architecture import Architecture
from archon.graph.loading import chosen_models
from archon.lm.pool import DrawPool
from archon.spec.architecture import ArchitectureSpec
from archon.spec.messages import shown, suggestion
from archon.spec.model_strings import ALL_ROLES
from archon.spec.reader import load_architecture
from archon.storage.atomic import write_json
from archon.storage.run_folder import make_folder
from archon.study.finals import Finals, SplitItems, warnings_of
from archon.study.finals_lease import finals_of, has_failed_items, leased, num_tested, store_finals
from archon.study.objectives import IN_SPACE, SearchLimits
from archon.study.result import SearchResult, evidence_of, named_pool, plain, row_of
from archon.study.samplers import make_sampler
from archon.study.search_config import OnStudyEvent, SearchConfig, SearchListeners
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
from archon.study.tracked import recorded
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
    """Check the inputs of a search, and return a session that is ready to run.

    Parameters
    ----------
    open_split
        Opens the first items of a split; its arguments are the split's name and the number.

    Raises
    ------
    SpecError, GraphError
        A file is invalid, or a configuration of the space is not a valid architecture.
    UsageError
        A number is out of range, or a name is unknown.
    MissingExtraError
        Optuna is not installed (the extra ``search``).
    """
    if config.trials < 1:
        raise UsageError(f"a search needs at least one trial, not {config.trials}")
    make_sampler(config.sampler, config.seed)
    _check_roles(space, config.models)
    splits: dict[str, SplitItems] = {}
    for name in SPLITS:
        opened = open_split(name, config.limit if name == "search" else config.final_limit)
        if name == "search":  # one fixed random order, so that every rung has all kinds of items
            items = list(opened.items)
            random.Random(0).shuffle(items)
            opened = replace(opened, items=items)
        splits[name] = SplitItems(opened, config.seed)
    check(space, load)  # last, because it builds hundreds of architectures
    architecture = load(_any_architecture(space))
    for split in splits.values():
        split.evaluation(architecture)  # raises if there are too few exemplars, for example
    card = splits["search"].benchmark.selection.card
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
            "benchmark": card.identity(),
            "items": [item.id for item in splits["search"].items],
            "objectives": list(config.objectives),
            "limits": config.limits.given,
            "seed": config.seed,
        },
        warm_start=[point_of(space, load_architecture(ref).spec) for ref in config.warm_start],
    )


@dataclass
class SearchSession:
    """One run of ``archon search`` on a study: trials, then the finals and the result."""

    config: SearchConfig
    space: Space
    load: Callable[[ArchitectureSpec], Architecture]
    splits: Mapping[str, SplitItems]
    name: str
    """Name of the study."""
    identity: Mapping[str, Any]
    """The settings that must be the same in all workers and sessions of a study."""
    warm_start: Sequence[Point]
    listeners: SearchListeners = field(default_factory=SearchListeners)
    _pool: DrawPool | None = None
    _end: str | None = None
    """Why the study has fewer trials than planned."""

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return study_folder(self.name)

    @property
    def storage(self) -> str:
        """URL of the database."""
        return self.config.storage or sqlite_url(self.folder / DATABASE)

    @property
    def _output(self) -> Path:
        return self.folder / "best.json" if self.config.output is None else self.config.output

    async def run(self) -> SearchResult:
        """Run the trials, choose the winner, and measure it on the test split.

        Raises
        ------
        UsageError
            The study already exists or has other settings, or the storage, the study's folder or
            the path of the winner's file cannot be used.
        StorageError
            Finished results cannot be written to the disk or the database.
        LMError
            Every item failed in several trials in a row.
        """
        make_folder(self.folder)
        if self._output.is_dir():
            raise UsageError(f"{self._output} is a folder; --output names the winner's file")
        if not self._output.parent.is_dir():
            raise UsageError(f"the folder {self._output.parent} of --output does not exist")
        with DrawPool() if self.config.uses_pool else contextlib.nullcontext() as self._pool:
            with recorded(
                self.name, self.identity, self.config, self.listeners.on_event, str(self.folder)
            ) as recorder:
                recorder.result = await self._run(recorder.on_event)
            return recorder.result

    async def _run(self, on_event: OnStudyEvent | None) -> SearchResult:
        config = self.config
        with opened_study(self.storage, self.name, self.identity, config) as study:
            if self.listeners.before_trials is not None:
                self.listeners.before_trials()
            num_known = len(study.get_trials(deepcopy=False))
            is_alone = is_for_one(self.storage)
            worker = Worker(study, is_alone)
            if num_known or not is_alone:  # the same seed would repeat earlier proposals
                seed = random.Random(f"{config.seed}/{num_known}/{'' if is_alone else worker.name}")
                study.sampler = make_sampler(config.sampler, seed.getrandbits(31))
            subject = Architectures(
                self.space,
                self.load,
                self.splits["search"].evaluation,
                self.splits["search"].items,
                self.folder / "trials",
                self._pool,
                config.limits if config.stops_early else SearchLimits(),
                self.listeners.on_progress,
                config.needs_compute,
            )
            search = Search(config, self.space, subject, study, worker, on_event)
            search.enqueue(self.warm_start)
            if (reason := await search.run()) is not None:
                trials = f"{counted(records(study))} of {config.trials} trials"
                self._end = f"the search ended after {trials}: {reason}"
            return await self._finish(study, worker)

    async def _finish(self, study: optuna.Study, worker: Worker) -> SearchResult:
        """Run the finals if the study does not have their results; return the result."""
        trials, objectives = records(study), self.config.objectives
        best = (front if len(objectives) > 1 else ranked)(trials, objectives)
        distinct = {record.digest: record for record in reversed(best)}.values()
        finalists = {r.number: r for r in list(reversed(distinct))[: self.config.finalists]}
        if not best:
            return self._result(trials, None, warning=_why_nothing(study, trials))
        if not finalists:
            return self._result(trials, best[0])
        asked = self._asked(finalists)
        if not _are_finished(finals_of(study), asked):
            async with leased(study, worker, self.storage) as is_ours:
                if not is_ours:
                    why = "another worker is running the finals and will write the winner's file"
                    return self._result(trials, best[0], warning=why, saves=False)
                if not _are_finished(
                    finals_of(study), asked
                ):  # another worker may have finished them
                    results = await self._run_finals(trials, finalists)
                    store_finals(study, {"asked": asked, **results})
        finals = finals_of(study)
        return self._result(trials, finalists[finals[-1]["winner"]], finals)

    def _asked(self, finalists: Mapping[int, TrialRecord]) -> str:
        """Return a digest of the finalists and of the items in the finals."""
        items = [[item.id for item in self.splits[name].items] for name in ("select", "test")]
        return digest_of_data([list(finalists), items])

    async def _run_finals(
        self, trials: Sequence[TrialRecord], finalists: Mapping[int, TrialRecord]
    ) -> dict[str, Any]:
        finals = Finals(
            self.load,
            self.splits,
            self.folder,
            self._pool,
            self.config.objectives,
            self.listeners.on_run,
            self.config.cost,
        )
        specs = [(number, self.space.build(r.point)) for number, r in finalists.items()]
        selected = await finals.select(specs)
        first = selected[0]
        test, row = await finals.final_test(first.trial, first.spec)
        evidence = evidence_of(self.name, finalists[first.trial], first.report, test, row)
        reports = [*(finalist.report for finalist in selected), test]
        return {
            "num_trials": counted(trials),
            "end_time": datetime.now(UTC).isoformat(timespec="seconds"),
            "finalists": [finalist.to_json() for finalist in selected],
            "winner": first.trial,
            "architecture": self._winner_file(first.spec, evidence),
            "select": first.report.to_json(),
            "test": test.to_json(),
            "equal_cost": row,
            "generated_tokens": sum(report.usage.generated_tokens for report in reports),
            "cost_tokens": sum(report.total_cost_tokens for report in reports),
        }

    def _winner_file(self, spec: ArchitectureSpec, evidence: str) -> dict[str, Any]:
        """Return the content of the winner's architecture file.

        The description states the evidence. The exemplar pool, the kind of answer and the models
        are written out, so that the file can be used outside the study.
        """
        benchmark = self.splits["search"].benchmark
        card = benchmark.selection.card
        pool = ANSWER_TYPES[card.answer].examples if card.examples is None else card.examples
        if "/" in pool or pool.endswith((".json", ".jsonl")):
            pool = str(benchmark.base_dir / pool)
        declared = {
            role: absolute_model(model, self.space.base_dir) for role, model in spec.models.items()
        }
        chosen = chosen_models(spec.models, self.config.models, self.space.base_dir)
        given = {
            role: absolute_model(os.fspath(model), Path.cwd())
            for role, model in chosen.items()
            if role in spec.models and isinstance(model, str | os.PathLike)
        }
        changes = {
            "name": f"{self.space.name}-best",
            "description": evidence,
            "answer": card.answer,
            "models": {**declared, **given},
        }
        return plain(named_pool(spec, pool).model_copy(update=changes))

    def _result(
        self,
        trials: Sequence[TrialRecord],
        winner: TrialRecord | None,
        finals: Sequence[Mapping[str, Any]] = (),
        *,
        warning: str | None = None,
        saves: bool = True,
    ) -> SearchResult:
        """Save the winner's file, and summarize the trials and the last finals."""
        cost = StudyCost.of(trials, len(self.splits["search"].items))
        last: Mapping[str, Any] = finals[-1] if finals else {}
        best: dict[str, Any] | None = None
        search: dict[str, Any] | None = None
        warnings = [] if warning is None else [warning]
        if winner is not None:
            architecture = last.get("architecture")
            if architecture is None:
                spec = self.space.build(winner.point)
                architecture = self._winner_file(spec, evidence_of(self.name, winner))
            else:
                tests = (last["test"], last["equal_cost"], num_tested(finals))
                warnings = warnings_of(winner.values["accuracy"], *tests)
            if saves:
                write_json(self._output, {"version": 1, **architecture})
            choices = dict(winner.point)
            best = {"trial": winner.number, "choices": choices, "architecture": architecture}
            search = {**row_of(winner), "num_items": len(winner.results)}
        outcomes = Counter(record.outcome for record in trials)
        reports: dict[str, Any] = {
            name: last.get(name) for name in ("select", "test", "equal_cost")
        }
        counts: dict[str, Any] = {
            "num_trials": counted(trials),
            **{f"num_{name}": outcomes[name] for name in ("stopped", "rejected", "failed")},
            "num_tested": num_tested(finals),
            "generated_tokens": cost.generated_tokens + last.get("generated_tokens", 0),
            "cost_tokens": cost.cost_tokens + last.get("cost_tokens", 0),
        }
        return SearchResult(
            study=self.name,
            storage=public_url(self.storage),
            best=best,
            front=[row_of(record) for record in front(trials, self.config.objectives)],
            search=search,
            trials_tokens={
                "generated": cost.generated_tokens,
                "without_pool": cost.without_pool_tokens,
                "without_pool_and_stopping": cost.without_both_tokens,
            },
            warnings=[*([] if self._end is None else [self._end]), *warnings],
            output=str(self._output) if winner is not None and saves else None,
            **counts,
            **reports,
        )


def _are_finished(finals: Sequence[Mapping[str, Any]], asked: str) -> bool:
    """Return whether the last finals have this digest and no failed items."""
    return bool(finals) and finals[-1]["asked"] == asked and not has_failed_items(finals[-1])


def _why_nothing(study: optuna.Study, trials: Sequence[TrialRecord]) -> str:
    """Explain why no trial won; if all were rejected, name the closest one."""
    rejected = [record for record in trials if record.outcome == "rejected"]
    if not rejected or counted(trials):
        return "there is no winner: no trial answered every item within the limits"
    stored = study.get_trials(deepcopy=False)

    def excess(record: TrialRecord) -> tuple[float, float]:
        shares = stored[record.number].constraints
        is_invalid = shares.get(IN_SPACE, 0.0)  # no change of the limits would help
        return is_invalid, sum(max(0.0, share) for share in shares.values())

    nearest = min(rejected, key=excess)
    return (
        f"there is no winner: all {len(rejected)} proposed configurations were rejected; trial "
        f"{nearest.number} was closest to being accepted: {nearest.reason}"
    )


def _any_architecture(space: Space) -> ArchitectureSpec:
    """Return the architecture of a random valid configuration; a checked space has one."""
    rng = random.Random(0)
    while True:
        with contextlib.suppress(RejectedError):
            return space.build(space.random_point(rng))


def _check_roles(space: Space, models: Mapping[str, Any]) -> None:
    roles = space.spec.data.get("models")
    if not isinstance(roles, dict):
        return
    for role in models:
        if role == ALL_ROLES and any(map(_is_nested, roles.values())):
            raise UsageError(
                f"a role of the space {space.name} has an architecture as its model, and the "
                "winner's file could not replace that one's models; name the roles to replace"
            )
        if role not in roles and role != ALL_ROLES:
            hint = suggestion(role, sorted(roles))
            raise UsageError(f"the {space.name} space has no role {shown(role)}{hint}")


def _is_nested(model: object) -> bool:
    return isinstance(model, dict) and "architecture" in model


def _new_name(space: str, benchmark: str) -> str:
    """Return a name that no study in this folder has, even one that started in the same second."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    stem = f"{stamp}-{safe_name(space)}-{safe_name(benchmark)}"
    numbered = (f"{stem}-{number}" for number in itertools.count(2))
    return next(n for n in itertools.chain([stem], numbered) if not study_folder(n).exists())
