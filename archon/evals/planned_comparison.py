"""Comparisons of architectures: an evaluation and a folder for each, then their comparison."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archon.errors import UsageError
from archon.evals.benchmarks.opening import Benchmark
from archon.evals.collection.compare_runs import compare_runs
from archon.evals.comparison import compare
from archon.evals.costs import Cost
from archon.evals.equal_cost import equal_cost
from archon.evals.folder import RunFolder, check_comparison_folder, run_folder
from archon.evals.html import interval_text, number_text, points_text
from archon.evals.run import Run, read_run
from archon.evals.runner import Evaluation
from archon.graph.architecture import Architecture
from archon.graph.html import block, table


@dataclass(frozen=True, repr=False)
class Comparison:
    """The comparison of several architectures, or of several runs, on the same items."""

    rows: Sequence[Mapping[str, Any]]
    """A row for each architecture: the columns of its ``Report``, its ``name``, and whether it is
    on the Pareto fronts of accuracy and cost, compute and time (``on_cost_front``,
    ``on_compute_front``, ``on_seconds_front``)."""
    pairs: Sequence[Mapping[str, Any]]
    """A row for each pair: the names ``a`` and ``b``, ``num_items``, the ``difference`` of their
    accuracies with its 95% ``interval``, the ``p_value`` of a paired test, and
    ``p_value_adjusted`` over all pairs (Holm). The same for mean scores, under keys that begin with
    ``mean_score``."""
    equal_cost: Sequence[Mapping[str, Any]]
    """A row for each architecture that is compared with a plain vote at equal cost; empty if none
    of the architectures is a plain vote."""
    single_calls: Sequence[Mapping[str, Any]]
    """A row for each architecture of several calls, which compares it with one call of another
    model."""
    warnings: Sequence[str]
    """Reasons why the items do not show which architecture is better."""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Comparison:
        """Return the comparison in the object that ``archon compare --json`` prints."""
        return cls(**data)

    @classmethod
    def of_runs(cls, runs: Sequence[Run], cost: Cost = "tokens") -> Comparison:
        """Compare stored runs; see ``archon.evals.collection.compare_runs``."""
        return cls.of(compare_runs([run.path for run in runs], cost))

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``archon compare --json`` prints."""
        return {
            "rows": list(self.rows),
            "pairs": list(self.pairs),
            "single_calls": list(self.single_calls),
            "warnings": list(self.warnings),
            "equal_cost": list(self.equal_cost),
        }

    def __repr__(self) -> str:
        shown = [
            f"{row['name']} {interval_text(row['accuracy'], row['accuracy_interval'])}"
            for row in self.rows
        ]
        return f"<Comparison: {'; '.join(shown)}>"

    def _repr_html_(self) -> str:
        """Return HTML for notebooks: the results, the differences and the warnings."""
        rows = table(
            ("architecture", "accuracy [95%]", "cost in tokens", "seconds"),
            (
                (
                    row["name"],
                    interval_text(row["accuracy"], row["accuracy_interval"]),
                    number_text(row["cost_tokens"]),
                    number_text(row["seconds"], 1),
                )
                for row in self.rows
            ),
        )
        pairs = table(
            ("a", "b", "a - b, points [95%]", "p", "p (Holm)"),
            (
                (
                    pair["a"],
                    pair["b"],
                    points_text(pair["difference"], pair["interval"]),
                    f"{pair['p_value']:.3g}",
                    f"{pair['p_value_adjusted']:.3g}",
                )
                for pair in self.pairs
            ),
        )
        reports = [row for row in self.rows if row.get("warnings")]
        of_rows = [f"{row['name']}: {each}" for row in reports for each in row["warnings"]]
        return block("Comparison", [rows, pairs], [*self.warnings, *of_rows])


@dataclass(frozen=True)
class PlannedComparison:
    """The evaluations of several architectures on the same items, with their folders."""

    evaluations: Sequence[Evaluation]
    folders: Sequence[RunFolder]

    @classmethod
    def of(
        cls,
        architectures: Sequence[Architecture],
        items: Benchmark,
        output: Path | None,
        *,
        resume: bool = False,
        seed: int = 0,
        epochs: int = 1,
        by: Sequence[str] | None = None,
    ) -> PlannedComparison:
        """Plan a comparison, whose runs have the subfolders 1-NAME, 2-NAME, … of ``output``.

        Raises
        ------
        UsageError
            There are fewer than two architectures, the folder has other contents, or ``resume`` is
            set without a folder.
        """
        if len(architectures) < 2:
            raise UsageError(
                "a comparison needs at least two architectures; add another architecture"
            )
        evaluations = [
            Evaluation.of(each, items, seed=seed, epochs=epochs, by=by) for each in architectures
        ]
        names = [each.name for each in architectures]
        if output is None:
            if resume:
                raise UsageError("to resume a comparison, set the output to its folder")
            return cls(evaluations, [run_folder(None, name, resume=False) for name in names])
        parts = [f"{number}-{name}" for number, name in enumerate(names, start=1)]
        check_comparison_folder(output, parts, resume=resume)
        folders = [
            run_folder(output / part, name, resume=resume)
            for part, name in zip(parts, names, strict=True)
        ]
        return cls(evaluations, folders)

    def unfinished(self, *, keep_errors: bool = False) -> Iterator[tuple[Evaluation, RunFolder]]:
        """Yield the evaluations that have items to ask."""
        for evaluation, folder in zip(self.evaluations, self.folders, strict=True):
            if not evaluation.is_finished_in(folder, keep_errors=keep_errors):
                yield evaluation, folder

    def discard_unused(self) -> None:
        """Remove the folders in which nothing was written."""
        for folder in self.folders:
            folder.discard_unused()

    def result(self, cost: Cost = "tokens") -> Comparison:
        """Compare the finished runs.

        Parameters
        ----------
        cost
            The cost that a plain vote must not exceed.
        """
        runs = [read_run(folder.path) for folder in self.folders]
        records = [run.records() for run in runs]
        found = compare([run.report().to_json() for run in runs], records)
        specs = [run.description["specification"]["architecture"] for run in runs]
        names = [row["name"] for row in found["rows"]]
        return Comparison.of(found | {"equal_cost": equal_cost(names, specs, records, cost)})
