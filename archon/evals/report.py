"""From records to results: one run's report, and the comparison of several runs."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from archon.errors import UsageError
from archon.evals.records import Record
from archon.evals.statistics import Interval, mean_interval, paired_interval, paired_p_value
from archon.types import Usage


@dataclass(frozen=True, slots=True)
class Report:
    """The result of evaluating one architecture on the items of one benchmark."""

    architecture: str
    benchmark: str
    split: str
    scorer: str
    limit: int | None
    epochs: int
    seed: int
    models: Mapping[str, str | None]
    """Role → name of the model; None for a program's own."""
    num_items: int
    """Items with at least one finished run, failed ones included."""
    num_runs: int
    """Finished runs of items: ``num_items`` times ``epochs``, unless it was interrupted."""
    num_errors: int
    """Runs that failed; they count as wrong answers."""
    accuracy: float | None
    """Mean over items of the share of right answers; None if nothing was finished."""
    accuracy_interval: Interval | None
    """95 % interval of ``accuracy``, items being the units of chance."""
    cost_tokens: float | None
    """Mean cost of an answer in tokens, over the runs that gave one."""
    total_cost_tokens: int
    usage: Usage
    """Sum over all runs that gave an answer."""
    wall_seconds: float
    tokens_per_second: float
    """Tokens really decoded (``usage.generated_tokens``) in a second of ``wall_seconds``."""
    run: str
    """The run's folder."""
    interrupted: bool = False

    def to_json(self) -> dict[str, Any]:
        """The same as plain data, which ``archon eval --json`` prints."""
        return asdict(self)


@dataclass
class Tally:
    """What a report needs of the records, added up as they come; texts are not kept."""

    right: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    num_errors: int = 0
    cost_tokens: int = 0
    usage: Usage = field(default_factory=Usage)

    def add(self, record: Record) -> None:
        """Count one finished run of an item."""
        self.right[record.item] += record.score
        self.runs[record.item] += 1
        self.num_errors += record.error is not None
        self.cost_tokens += record.cost_tokens
        self.usage += record.usage

    @classmethod
    def of(cls, records: Iterable[Record]) -> Tally:
        """The tally of finished runs."""
        tally = cls()
        for record in records:
            tally.add(record)
        return tally

    @property
    def num_runs(self) -> int:
        """Finished runs."""
        return self.runs.total()

    @property
    def item_means(self) -> dict[str, float]:
        """Item → the share of its runs that were right."""
        return {item: self.right[item] / runs for item, runs in self.runs.items()}

    @property
    def accuracy(self) -> float | None:
        """Mean over items of the share of right answers; None if nothing was finished."""
        return fmean(self.item_means.values()) if self.runs else None

    @property
    def accuracy_interval(self) -> Interval | None:
        """95 % interval of ``accuracy``, items being the units of chance."""
        return mean_interval(list(self.item_means.values()), self.num_runs) if self.runs else None

    def results(self, wall_seconds: float) -> dict[str, Any]:
        """The fields of a ``Report`` that follow from the records."""
        answers = self.num_runs - self.num_errors
        return {
            "num_items": len(self.runs),
            "num_runs": self.num_runs,
            "num_errors": self.num_errors,
            "accuracy": self.accuracy,
            "accuracy_interval": self.accuracy_interval,
            "cost_tokens": self.cost_tokens / answers if answers else None,
            "total_cost_tokens": self.cost_tokens,
            "usage": self.usage,
            "wall_seconds": wall_seconds,
            "tokens_per_second": self.usage.generated_tokens / wall_seconds if wall_seconds else 0,
        }


def compare(
    reports: Sequence[Mapping[str, Any]], records: Sequence[Iterable[Record]]
) -> dict[str, Any]:
    """Several runs side by side, every two of them compared on the items that both have.

    ``difference`` is the accuracy of ``a`` minus that of ``b`` on these items, ``interval`` its
    95 % interval, ``p_value`` that of the exact paired test. Runs of one name are numbered.

    Parameters
    ----------
    reports : a run's report as plain data, for each run.
    records : its records.

    Raises
    ------
    UsageError : two runs have no item in common.
    MissingExtraError : scipy is not installed.
    """
    tallies = [Tally.of(run) for run in records]
    names = _distinct([str(report["architecture"]) for report in reports])
    runs = list(zip(names, tallies, strict=True))
    pairs = [_pair(a, b) for a, b in itertools.combinations(runs, 2)]
    return {"rows": list(reports), "pairs": pairs}


def _pair(run_a: tuple[str, Tally], run_b: tuple[str, Tally]) -> dict[str, Any]:
    (name_a, a), (name_b, b) = run_a, run_b
    shared = [item for item in a.runs if item in b.runs]
    if not shared:
        raise UsageError(f"the runs of {name_a} and {name_b} have no item in common")
    means_a, means_b = ([run.item_means[item] for item in shared] for run in (a, b))
    runs_a, runs_b = (sum(run.runs[item] for item in shared) for run in (a, b))
    return {
        "a": name_a,
        "b": name_b,
        "num_items": len(shared),
        "difference": fmean(means_a) - fmean(means_b),
        "interval": paired_interval(means_a, means_b, runs_a, runs_b),
        "p_value": paired_p_value(means_a, means_b),
    }


def _distinct(names: Sequence[str]) -> list[str]:
    seen: Counter[str] = Counter()
    distinct = []
    for name in names:
        seen[name] += 1
        distinct.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return distinct
