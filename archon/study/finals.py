"""The finals of a study: the choice among its best trials, and the final test.

A search picks what was luckiest on its own items, so the best few of it are asked others
(*select*), and the best there is asked others again, once (*test*), next to plain voting at the
same cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archon.errors import require
from archon.evals.benchmarks import Item
from archon.evals.equal_cost import PlainVote, against, plain_vote
from archon.evals.folder import RunFolder
from archon.evals.records import Record
from archon.evals.report import Report
from archon.evals.rounding import percent, signed
from archon.evals.run import read_run
from archon.evals.runner import Evaluation, evaluate
from archon.graph.architecture import Architecture
from archon.lm.pool import DrawPool
from archon.spec.architecture import ArchitectureSpec, GeneratorNode
from archon.spec.reader import load_architecture
from archon.study.objectives import OBJECTIVES, means
from archon.study.search_config import OnRun
from archon.study.trial_evaluation import measured

BASELINE = "self-consistency"
_FEW_DRAFTS, _MOST_DRAFTS = 8, 64


@dataclass(frozen=True)
class SplitItems:
    """The items of a split, and how an architecture is asked them."""

    items: Sequence[Item]
    evaluation: Callable[[Architecture], Evaluation]


@dataclass(frozen=True)
class Splits:
    """The three disjoint splits of the benchmark of a search."""

    search: SplitItems
    select: SplitItems
    test: SplitItems


@dataclass(frozen=True)
class Finalist:
    """One of a study's best, and what it did on the select split."""

    trial: int
    spec: ArchitectureSpec
    report: Report

    def to_json(self) -> dict[str, Any]:
        """What a list of finalists tells of each."""
        report = self.report.to_json()
        told = (
            "accuracy",
            "accuracy_interval",
            "num_items",
            "num_errors",
            "cost_tokens",
            "seconds",
            "run",
        )
        return {"trial": self.trial, **{key: report[key] for key in told}}


@dataclass
class Finals:
    """Runs finalists; what is finished in their folders is not asked again."""

    load: Callable[[ArchitectureSpec], Architecture]
    splits: Splits
    folder: Path
    pool: DrawPool | None
    objectives: Sequence[str]
    on_run: OnRun | None = None

    async def chosen(self, finalists: Sequence[tuple[int, ArchitectureSpec]]) -> list[Finalist]:
        """All of them with what they did on *select*, the best first."""
        found = []
        for trial, spec in finalists:
            path = self.folder / "select" / f"{trial:04d}"
            title = f"select: trial {trial}"
            report, _ = await self._run(self.splits.select, self.load(spec), path, title)
            found.append(Finalist(trial, spec, report))
        return sorted(found, key=self._losses)

    def _losses(self, finalist: Finalist) -> tuple[float, ...]:
        values = means(measured(Path(finalist.report.run), self.splits.select.items).results)
        names = (*self.objectives[:1], "accuracy", "tokens")
        return tuple(-values[name] if OBJECTIVES[name] else values[name] for name in names)

    async def final_test(
        self, trial: int, winner: ArchitectureSpec
    ) -> tuple[Report, dict[str, Any] | None]:
        """The winner on *test*, and a vote over as many samples as it costs.

        The comparison is a row of ``archon.evals.equal_cost``; None where the winner asks no model
        for samples that could be voted on.
        """
        require("scipy", "search")
        report, records = await self._run(
            self.splits.test,
            self.load(winner),
            self.folder / "test" / f"{trial:04d}",
            "test: the winner",
        )
        vote = await self._voted(trial, winner, _FEW_DRAFTS)
        if vote is not None and report.cost_tokens is not None:
            # One draft more than the winner costs shows that the drafts were enough.
            wanted = math.ceil((report.cost_tokens - vote.prompt_tokens) / vote.draft_tokens) + 1
            if wanted > vote.num_drafts:
                vote = await self._voted(trial, winner, min(wanted, _MOST_DRAFTS))
        return report, None if vote is None else against(vote, winner.name, records)

    async def _voted(self, trial: int, winner: ArchitectureSpec, drafts: int) -> PlainVote | None:
        """Plain voting by the winner's model on *test*; None where nothing can be voted on."""
        spec = voting(winner, drafts)
        if spec is None:
            return None
        path = self.folder / "test" / f"{trial:04d}-{BASELINE}-{drafts}"
        title = f"test: {BASELINE} with {drafts} drafts"
        _, records = await self._run(self.splits.test, self.load(spec), path, title)
        return plain_vote(BASELINE, spec.model_dump(mode="json"), records)

    async def _run(
        self, split: SplitItems, architecture: Architecture, path: Path, title: str
    ) -> tuple[Report, list[Record]]:
        listen = None if self.on_run is None else self.on_run(title, len(split.items))
        report = await evaluate(
            split.evaluation(architecture),
            RunFolder.resume(path),
            pool=self.pool,
            on_progress=listen,
        )
        return report, read_run(path).records()


def voting(winner: ArchitectureSpec, drafts: int) -> ArchitectureSpec | None:
    """Plain voting by the model that drafts in the winner; None where none does."""
    roles = [node.model for node in winner.nodes.values() if isinstance(node, GeneratorNode)]
    if not roles:
        return None
    spec = load_architecture(BASELINE).spec
    nodes = {
        name: node.model_copy(update={"model": roles[0], "samples": drafts})
        if isinstance(node, GeneratorNode)
        else node
        for name, node in spec.nodes.items()
    }
    return spec.model_copy(update={"nodes": nodes, "models": {roles[0]: winner.models[roles[0]]}})


def warnings_of(
    search: float, test: Mapping[str, Any], row: Mapping[str, Any] | None, num_tested: int
) -> list[str]:
    """What of the gain does not survive.

    Parameters
    ----------
    search
        The winner's accuracy on the items that it was found with.
    test
        Its report on the test split.
    row
        It beside plain voting (``Finals.final_test``).
    num_tested
        Winners that were asked the test split so far, this one included.
    """
    told = []
    if test["accuracy"] is not None:
        low, high = test["accuracy_interval"]
        if search > high:
            told.append(
                f"on the items of the search it looked better ({percent(search)} %) than on the "
                f"test ({percent(test['accuracy'])} % [{percent(low)}, {percent(high)}])"
            )
    if num_tested > 1:
        told.append(
            f"the test was looked at {num_tested} times, once for each winner so far; what is "
            "searched for after a look is no longer told of by unseen items"
        )
    if row is not None and row["difference"] is not None:
        low, _ = row["interval"]
        if row["difference"] <= 0:
            told.append(
                f"on the test it is no better than {BASELINE} at the same cost "
                f"({signed(row['difference'], 1, shift=2)} points)"
            )
        elif low <= 0:
            told.append(
                f"on the test it is not told apart from {BASELINE} at the same cost "
                f"({signed(row['difference'], 1, shift=2)} points, 95 % interval from "
                f"{signed(low, 1, shift=2)})"
            )
    if row is not None and not row["is_enough"]:
        told.append(
            f"it costs more than {row['drafts']} drafts, the most that {BASELINE} was given"
        )
    return told
