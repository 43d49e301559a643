"""The result of a search: its JSON, and the description in the winner's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from archon.evals.report import Report
from archon.evals.rounding import percent, signed
from archon.spec.architecture import ArchitectureSpec, ModelNode
from archon.study.objectives import OBJECTIVES
from archon.study.trials import TrialRecord


@dataclass(frozen=True)
class SearchResult:
    """The result of a search."""

    study: str
    storage: str
    """Its URL without a password."""
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
    num_tested: int
    """Winners that were asked the test split, in all finals of the study."""
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


def said_of(
    study: str,
    winner: TrialRecord,
    select: Report | None = None,
    test: Report | None = None,
    row: Mapping[str, Any] | None = None,
) -> str:
    """The evidence for a winner, as its file tells it."""
    accuracy = winner.values["accuracy"]
    evidence = [f"search {percent(accuracy)} % of {len(winner.results)} items"]
    for name, report in (("select", select), ("test", test)):
        if report is not None and report.accuracy is not None:
            evidence.append(f"{name} {percent(report.accuracy)} % of {report.num_items}")
    if row is not None and row["difference"] is not None:
        difference, low, high = (
            signed(value, 1, shift=2) for value in (row["difference"], *row["interval"])
        )
        evidence.append(
            f"{difference} points [{low}, {high}] "
            f"against a vote over {row['drafts']} drafts at equal cost"
        )
    return f"Trial {winner.number} of the study {study}: {', '.join(evidence)}."


def plain(spec: ArchitectureSpec) -> dict[str, Any]:
    """An architecture as its file has it, without the version."""
    return spec.model_dump(mode="json", exclude_defaults=True)


def row_of(record: TrialRecord) -> dict[str, Any]:
    """A trial as a list of the best tells it."""
    values = {name: record.values[name] for name in OBJECTIVES} if record.results else {}
    return {
        "trial": record.number,
        "choices": dict(record.point),
        "accuracy": values.get("accuracy"),
        "cost_tokens": values.get("tokens"),
        "seconds": values.get("seconds"),
        "run": record.run,
    }


def named_pool(spec: ArchitectureSpec, pool: str) -> ArchitectureSpec:
    """The architecture with its exemplar pool named, in every node that shows examples."""
    nodes = {}
    for name, node in spec.nodes.items():
        prompt = node.prompt if isinstance(node, ModelNode) else None
        if prompt is not None and prompt.shots and prompt.examples is None:
            node = node.model_copy(update={"prompt": prompt.model_copy(update={"examples": pool})})
        nodes[name] = node
    return spec.model_copy(update={"nodes": nodes})
