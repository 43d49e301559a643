"""The result of a search, and its winner's architecture file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from archon.evals.html import interval_text, number_text
from archon.evals.report import Report
from archon.evals.rounding import percent, signed
from archon.graph.html import block, table
from archon.spec.architecture import ArchitectureSpec, ModelNode
from archon.study.trials import TrialRecord


@dataclass(frozen=True, repr=False)
class SearchResult:
    """The result of a search."""

    study: str
    storage: str
    """URL of the database, without its password."""
    num_trials: int
    """Number of trials in which items were asked."""
    num_stopped: int
    num_rejected: int
    num_failed: int
    best: dict[str, Any] | None
    """The winner, with keys ``trial``, ``choices`` and ``architecture``; None without one."""
    front: Sequence[dict[str, Any]]
    """Pareto front: complete trials that no other trial dominates in the objectives."""
    search: dict[str, Any] | None
    """The winner's result on the search split."""
    select: dict[str, Any] | None
    test: dict[str, Any] | None
    """The winner's reports on the select and test splits. None if the finals were skipped, or are
    being run by another worker."""
    equal_cost: dict[str, Any] | None
    """Comparison of the winner with a plain vote at the same cost, on the test split."""
    num_tested: int
    """Number of winners evaluated on the test split, over all finals of the study."""
    generated_tokens: int
    """Tokens decoded in trials and finals."""
    cost_tokens: int
    trials_tokens: dict[str, int]
    """Tokens decoded in the trials: ``generated``, ``without_pool`` and
    ``without_pool_and_stopping``. The last two are estimates without these savings."""
    warnings: Sequence[str]
    output: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``archon search --json`` prints."""
        return asdict(self)

    def __repr__(self) -> str:
        winner = "no winner" if self.best is None else f"best trial {self.best['trial']}"
        return f"<SearchResult of {self.study}: {self.num_trials} trials, {winner}>"

    def _repr_html_(self) -> str:
        """Return HTML for notebooks: the winner's results, the Pareto front and the warnings."""
        headings = ("trial", "accuracy", "cost in tokens", "seconds", "parameters")
        front = table(headings, map(_front_cells, self.front))
        splits = {"search": self.search, "select": self.select, "test": self.test}
        results = [
            (name, interval_text(found["accuracy"], found.get("accuracy_interval")))
            for name, found in splits.items()
            if found is not None
        ]
        return block(repr(self)[1:-1], [table(("split", "winner"), results), front], self.warnings)


def _front_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the cells of a trial on the front."""
    return (
        str(row["trial"]),
        interval_text(row["accuracy"], None),
        number_text(row["cost_tokens"]),
        number_text(row["seconds"], 1),
        ", ".join(f"{name} {value}" for name, value in row["choices"].items()),
    )


def evidence_of(
    study: str,
    winner: TrialRecord,
    select: Report | None = None,
    test: Report | None = None,
    row: Mapping[str, Any] | None = None,
) -> str:
    """Return a sentence with the winner's results, the description in its file."""
    accuracy = winner.values["accuracy"]
    evidence = [f"search {percent(accuracy)}% of {len(winner.results)} items"]
    for name, report in (("select", select), ("test", test)):
        if report is not None and report.accuracy is not None:
            evidence.append(f"{name} {percent(report.accuracy)}% of {report.num_items}")
    if row is not None and row["difference"] is not None:
        difference, low, high = (
            signed(value, 1, shift=2) for value in (row["difference"], *row["interval"])
        )
        evidence.append(
            f"{difference} points [{low}, {high}] "
            f"against a vote over {row['drafts']} samples at equal cost"
        )
    return f"Trial {winner.number} of the study {study}: {', '.join(evidence)}."


def plain(spec: ArchitectureSpec) -> dict[str, Any]:
    """Return the content of an architecture file without ``version`` and default values."""
    return spec.model_dump(mode="json", exclude_defaults=True)


def row_of(record: TrialRecord) -> dict[str, Any]:
    """Return a trial as a row of ``SearchResult.front``."""
    values = record.values if record.results else {}
    return {
        "trial": record.number,
        "choices": dict(record.point),
        "accuracy": values.get("accuracy"),
        "cost_tokens": values.get("tokens"),
        "compute": values.get("compute"),
        "seconds": values.get("seconds"),
        "run": record.run,
    }


def named_pool(spec: ArchitectureSpec, pool: str) -> ArchitectureSpec:
    """Return a copy in which every node with few-shot examples names the exemplar pool."""
    nodes = {}
    for name, node in spec.nodes.items():
        prompt = node.prompt if isinstance(node, ModelNode) else None
        if prompt is not None and prompt.shots and prompt.examples is None:
            node = node.model_copy(update={"prompt": prompt.model_copy(update={"examples": pool})})
        nodes[name] = node
    return spec.model_copy(update={"nodes": nodes})
