"""A search from its first trial to the last word: the study, the finals, the result."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archon.evals.disk import write_json
from archon.evals.report import Report
from archon.evals.runner import OnProgress
from archon.graph.architecture import Architecture
from archon.lm.pool import DrawPool
from archon.spec.architecture import ArchitectureSpec, ModelNode
from archon.study.finals import Finalist, Finals, OnRun, SplitItems, warnings_of
from archon.study.objectives import OBJECTIVES
from archon.study.samplers import make_sampler
from archon.study.space import Point, Space
from archon.study.storage import Worker, is_for_one, opened_study
from archon.study.study import OnStudyEvent, Plan, Search, pruner
from archon.study.subject import Architectures
from archon.study.trials import StudyCost, TrialRecord, counted, front, ranked, records

if TYPE_CHECKING:
    import optuna

_FINALS = "finals"


@dataclass(frozen=True)
class SearchResult:
    """What a search found."""

    study: str
    storage: str
    num_trials: int
    """Those that asked something."""
    num_stopped: int
    num_rejected: int
    num_failed: int
    best: dict[str, Any] | None
    """The winner: ``trial``, ``choices``, ``architecture``; None where there is none."""
    front: Sequence[dict[str, Any]]
    """Of the trials that saw every item those that no other beats in every objective."""
    search: dict[str, Any] | None
    """The winner on the items that it was found with."""
    select: dict[str, Any] | None
    test: dict[str, Any] | None
    """The winner's reports; None where the finals are another worker's, or were left out."""
    equal_cost: dict[str, Any] | None
    """The winner on the test split against plain voting at its cost."""
    generated_tokens: int
    """Decoded, in trials and finals together."""
    cost_tokens: int
    trials_tokens: dict[str, int]
    """Decoded in the trials, and what would have been without the pool, and without stopping."""
    warnings: Sequence[str]
    output: str | None

    def to_json(self) -> dict[str, Any]:
        """The same as plain data, which ``archon search --json`` prints."""
        return asdict(self)


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
    _finalists: list[Finalist] = field(default_factory=list)

    async def run(self) -> SearchResult:
        """Search, choose, test.

        Raises
        ------
        UsageError : the study is there already, or of something else, or the storage is not to be
            had.
        StorageError : the disk or the database does not take what is finished.
        LMError : nothing was answered in several trials in a row.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
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
                self.on_progress,
            )
            search = Search(plan, self.space, subject, study, worker, self.on_event)
            search.enqueue(self.warm_start)
            await search.run()
            told = records(study)
            with self._claimed(study, worker) as is_ours:
                return await self._finish(told, is_ours)

    @contextlib.contextmanager
    def _claimed(self, study: optuna.Study, worker: Worker) -> Iterator[bool]:
        """Whether the finals are for this worker; of several the first takes them."""
        by = study.user_attrs.get(_FINALS)
        if not worker.is_alone and by is not None and not _is_dead(by):
            yield False
            return
        study.set_user_attr(_FINALS, worker.name)
        yield True

    async def _finish(self, told: Sequence[TrialRecord], is_ours: bool) -> SearchResult:
        objectives = self.plan.objectives
        found = front(told, objectives)
        best = found if len(objectives) > 1 else ranked(told, objectives)
        distinct = {record.digest: record for record in reversed(best)}.values()
        finalists = list(reversed(distinct))[: self.num_finalists]
        if not is_ours:
            result = self._result(told, found, best[0] if best else None, saves=False)
            said = "another worker chooses among the finalists and writes the winner's file"
            return replace(result, warnings=[*result.warnings, said])
        if not finalists:
            return self._result(told, found, best[0] if best else None)
        finals = Finals(
            self.load,
            self.select,
            self.test,
            self.folder,
            self.pool,
            objectives,
            self.on_run,
        )
        chosen = await finals.chosen([(r.number, self.space.build(r.point)) for r in finalists])
        self._finalists = chosen
        winner = next(record for record in finalists if record.number == chosen[0].trial)
        test, row = await finals.last_word(chosen[0].spec)
        return self._result(told, found, winner, chosen[0].report, test, row)

    def _result(
        self,
        told: Sequence[TrialRecord],
        found: Sequence[TrialRecord],
        winner: TrialRecord | None,
        select: Report | None = None,
        test: Report | None = None,
        row: dict[str, Any] | None = None,
        *,
        saves: bool = True,
    ) -> SearchResult:
        cost = StudyCost.of(told, len(self.search.items))
        seen = None if winner is None else winner.values
        warnings = [] if seen is None else warnings_of(seen["accuracy"], select, test, row)
        best = None
        if winner is not None:
            spec = self._finished(winner, seen or {}, select, test, row)
            if saves:
                data = spec.model_dump(mode="json", exclude_defaults=True)
                write_json(self._output, {"version": 1, **data})
            best = {
                "trial": winner.number,
                "choices": dict(winner.point),
                "architecture": spec.model_dump(mode="json", exclude_defaults=True),
            }
        else:
            warnings.append("no trial saw every item within the limits, so nothing was found")
        finals = [f.report for f in self._finalists] + ([test] if test is not None else [])
        num_of = {
            outcome: sum(record.outcome == outcome for record in told)
            for outcome in ("stopped", "rejected", "failed")
        }
        return SearchResult(
            study=self.name,
            storage=self.storage,
            num_trials=counted(told),
            num_stopped=num_of["stopped"],
            num_rejected=num_of["rejected"],
            num_failed=num_of["failed"],
            best=best,
            front=[_row(record) for record in found],
            search=None if winner is None else {**_row(winner), "num_items": len(winner.results)},
            select=None if select is None else select.to_json(),
            test=None if test is None else test.to_json(),
            equal_cost=row,
            generated_tokens=cost.generated_tokens
            + sum(report.usage.generated_tokens for report in finals),
            cost_tokens=cost.cost_tokens + sum(report.total_cost_tokens for report in finals),
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

    def _finished(
        self,
        winner: TrialRecord,
        seen: Mapping[str, float],
        select: Report | None,
        test: Report | None,
        row: Mapping[str, Any] | None,
    ) -> ArchitectureSpec:
        """The winner as an ordinary architecture, with the evidence."""
        evidence = [f"search {100 * seen['accuracy']:.1f} % of {len(winner.results)} items"]
        for name, report in (("select", select), ("test", test)):
            if report is not None and report.accuracy is not None:
                evidence.append(f"{name} {100 * report.accuracy:.1f} % of {report.num_items}")
        if row is not None and row["difference"] is not None:
            low, high = row["interval"]
            evidence.append(
                f"{100 * row['difference']:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}] "
                f"against a vote over {row['drafts']} drafts at equal cost"
            )
        said = f"Trial {winner.number} of the study {self.name}: {', '.join(evidence)}."
        return self.finish(self.space.build(winner.point), said)


def _row(record: TrialRecord) -> dict[str, Any]:
    values = {name: record.values[name] for name in OBJECTIVES} if record.results else {}
    return {
        "trial": record.number,
        "choices": dict(record.point),
        "accuracy": values.get("accuracy"),
        "cost_tokens": values.get("tokens"),
        "seconds": values.get("seconds"),
        "run": record.run,
    }


def _is_dead(worker: str) -> bool:
    """Whether a worker of this very machine is known to be gone."""
    host, process, _ = worker.rsplit("/", 2)
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def named_pool(spec: ArchitectureSpec, pool: str) -> ArchitectureSpec:
    """The architecture with its exemplar pool named, in every node that shows examples."""
    nodes = {}
    for name, node in spec.nodes.items():
        prompt = node.prompt if isinstance(node, ModelNode) else None
        if prompt is not None and prompt.shots and prompt.examples is None:
            node = node.model_copy(update={"prompt": prompt.model_copy(update={"examples": pool})})
        nodes[name] = node
    return spec.model_copy(update={"nodes": nodes})
