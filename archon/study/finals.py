"""The finals of a study: choose the winner among the best trials, and test it.

The best trial of a search is partly lucky on the search items. So the best few trials are evaluated
on other items (*select*). The winner is evaluated once on a third set (*test*), next to a plain
vote at the same cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archon.errors import require
from archon.evals.benchmarks import Item
from archon.evals.benchmarks.opening import Benchmark
from archon.evals.costs import Cost, mean_cost
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
from archon.study.objectives import losses, means
from archon.study.search_config import OnRun
from archon.study.trial_evaluation import measured

BASELINE = "self-consistency"
_FEWEST_SAMPLES, _MOST_SAMPLES = 8, 64


@dataclass(frozen=True)
class SplitItems:
    """The items of one split; makes evaluations of architectures on them."""

    benchmark: Benchmark
    seed: int

    @property
    def items(self) -> list[Item]:
        return self.benchmark.items

    def evaluation(self, architecture: Architecture) -> Evaluation:
        """Return the evaluation of an architecture; raises the errors of ``Evaluation.of``."""
        return Evaluation.of(architecture, self.benchmark, seed=self.seed)


@dataclass(frozen=True)
class Finalist:
    """One of the best trials of a study, with its report on the select split."""

    trial: int
    spec: ArchitectureSpec
    report: Report

    def to_json(self) -> dict[str, Any]:
        """Return plain data for the results of the finals."""
        report = self.report.to_json()
        accuracy = ("accuracy", "accuracy_interval", "num_items", "num_errors")
        names = (*accuracy, "cost_tokens", "seconds", "run")
        return {"trial": self.trial, **{name: report[name] for name in names}}


@dataclass
class Finals:
    """Evaluates the finalists, and reuses the finished answers in their run folders."""

    load: Callable[[ArchitectureSpec], Architecture]
    splits: Mapping[str, SplitItems]
    folder: Path
    pool: DrawPool | None
    objectives: Sequence[str]
    on_run: OnRun | None = None
    cost: Cost = "tokens"
    """Cost at which the winner is compared with a plain vote."""

    async def select(self, finalists: Sequence[tuple[int, ArchitectureSpec]]) -> list[Finalist]:
        """Evaluate trials on *select*; return them as finalists with reports, the best first."""
        found = []
        for trial, spec in finalists:
            path = self.folder / "select" / f"{trial:04d}"
            title = f"select: trial {trial}"
            report, _ = await self._run("select", self.load(spec), path, title)
            found.append(Finalist(trial, spec, report))
        return sorted(found, key=self._order)

    def _order(self, finalist: Finalist) -> tuple[float, ...]:
        values = means(measured(Path(finalist.report.run), self.splits["select"].items).results)
        return losses(values, (*self.objectives[:1], "accuracy", "tokens"))

    async def final_test(
        self, trial: int, winner: ArchitectureSpec
    ) -> tuple[Report, dict[str, Any] | None]:
        """Evaluate the winner and a plain vote at the same cost on *test*.

        Returns
        -------
        The winner's report, and the comparison: a row of ``archon.evals.equal_cost``, or None if
        the winner has no generator.
        """
        require("scipy", "search")
        path = self.folder / "test" / f"{trial:04d}"
        report, records = await self._run("test", self.load(winner), path, "test: the winner")
        vote = await self._vote(trial, winner, _FEWEST_SAMPLES)
        amount = mean_cost(records, self.cost)
        price = None if vote is None else vote.price(self.cost)
        if vote is not None and price is not None and price[1] and amount is not None:
            # One sample more than the winner costs proves that there were enough.
            wanted = math.ceil((amount - price[0]) / price[1]) + 1
            if wanted > vote.num_samples:
                vote = await self._vote(trial, winner, min(wanted, _MOST_SAMPLES))
        row = None if vote is None else against(vote, winner.name, records, self.cost)
        return report, row

    async def _vote(
        self, trial: int, winner: ArchitectureSpec, num_samples: int
    ) -> PlainVote | None:
        """Evaluate a plain vote with the winner's model on *test*; None if it has no generator."""
        spec = voting(winner, num_samples)
        if spec is None:
            return None
        path = self.folder / "test" / f"{trial:04d}-{BASELINE}-{num_samples}"
        title = f"test: {BASELINE} with {num_samples} samples"
        _, records = await self._run("test", self.load(spec), path, title)
        return plain_vote(BASELINE, spec.model_dump(mode="json"), records)

    async def _run(
        self, name: str, architecture: Architecture, path: Path, title: str
    ) -> tuple[Report, list[Record]]:
        split = self.splits[name]
        listener = None if self.on_run is None else self.on_run(title, len(split.items))
        evaluation, folder = split.evaluation(architecture), RunFolder.resume(path)
        report = await evaluate(evaluation, folder, pool=self.pool, on_progress=listener)
        return report, read_run(path).records()


def voting(winner: ArchitectureSpec, num_samples: int) -> ArchitectureSpec | None:
    """Return a plain vote with the model of the winner's first generator; None without one."""
    roles = [node.model for node in winner.nodes.values() if isinstance(node, GeneratorNode)]
    if not roles:
        return None
    spec = load_architecture(BASELINE).spec
    nodes = {
        name: node.model_copy(update={"model": roles[0], "samples": num_samples})
        if isinstance(node, GeneratorNode)
        else node
        for name, node in spec.nodes.items()
    }
    return spec.model_copy(update={"nodes": nodes, "models": {roles[0]: winner.models[roles[0]]}})


def warnings_of(
    search: float, test: Mapping[str, Any], row: Mapping[str, Any] | None, num_tested: int
) -> list[str]:
    """Return warnings if the final test does not confirm the gain of the search.

    Parameters
    ----------
    search
        The winner's accuracy on the search items.
    test
        The winner's report on the *test* split.
    row
        The winner's comparison with plain voting (``Finals.final_test``).
    num_tested
        Number of winners evaluated on the test split so far, including this one.
    """
    warnings = []
    if test["accuracy"] is not None:
        low, high = test["accuracy_interval"]
        if search > high:
            warnings.append(
                f"the winner was more accurate on the search items ({percent(search)}%) than on "
                f"the test items ({percent(test['accuracy'])}% [{percent(low)}, {percent(high)}])"
            )
    if num_tested > 1:
        warnings.append(
            f"the test items were used {num_tested} times, once for each winner so far; they were "
            "unseen only for the first winner"
        )
    if row is not None and row["difference"] is not None:
        points, low = (signed(x, 1, shift=2) for x in (row["difference"], row["interval"][0]))
        if row["difference"] <= 0:
            warnings.append(
                f"on the test items the winner is no better than {BASELINE} at the same cost "
                f"({points} points)"
            )
        elif row["interval"][0] <= 0:
            warnings.append(
                f"on the test items the winner is not significantly better than {BASELINE} at the "
                f"same cost ({points} points, 95% interval from {low})"
            )
    if row is not None and not row["is_enough"]:
        warnings.append(
            f"the winner costs more than {row['drafts']} samples, the maximum of {BASELINE} in the "
            "comparison"
        )
    return warnings
