# ruff: noqa: RUF009 - functions that return fields make the columns of a report
"""Reports: the columns of a run's result, computed from its records."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from statistics import fmean
from typing import Any

from archon.evals.failures import Cause, causes
from archon.evals.pass_at_k import CurvePoint, NodeDraws
from archon.evals.power import accuracy_warning
from archon.evals.records import Record
from archon.evals.statistics import Interval, mean_interval, score_interval
from archon.reasoning import cut_off_notice
from archon.types import Usage


def total(each: Callable[[Record], Any], *, start: Any = 0, default: Any = MISSING) -> Any:
    """Make a column that adds up a figure of every record.

    Parameters
    ----------
    each
        The figure of a record.
    start
        The sum of no records.
    default
        The value in reports of versions without the column.
    """
    return field(default=default, metadata={"each": each, "start": start})


def result(of: Callable[[Tally], Any], *, heading: str = "", decimals: int = 0) -> Any:
    """Make a column that follows from all records.

    Parameters
    ----------
    of
        Computes it from their tally.
    heading
        Of the column in the table of ``archon compare``, which omits columns without one.
    decimals
        Decimals in the table.
    """
    return field(metadata={"of": of, "heading": heading, "decimals": decimals})


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of evaluating one architecture on the items of one benchmark.

    This is the only definition of each column: its computation, and its format in tables.
    """

    architecture: str
    benchmark: str
    split: str
    scorer: str
    answer: str
    """The kind of answer: number, text or code."""
    limit: int | None
    epochs: int
    seed: int
    models: Mapping[str, str | None]
    """Role → name of the model; None for a model that a program passed as an object."""
    num_items: int = result(lambda tally: len(tally.runs))
    """Items with at least one finished run, failed ones included."""
    num_runs: int = result(lambda tally: tally.num_runs)
    """Finished runs of items; ``num_items`` times ``epochs`` unless interrupted."""
    num_errors: int = total(lambda record: record.error is not None)
    """Runs that failed; they count as wrong answers."""
    errors: Sequence[Cause] = result(lambda tally: causes(tally.errors))
    """Each cause of failures with their number, the most frequent first."""
    num_without_value: int = total(lambda record: record.has_no_value)
    """Runs with an answer from which no value could be read."""
    num_failed_samples: int = total(lambda record: record.failed_samples)
    """Failed samples in runs with an answer, which uses the others."""
    num_limited: int = total(lambda record: record.limited_by is not None)
    """Runs with an answer that the budget cut short."""
    accuracy: float | None = result(lambda tally: tally.accuracy)
    """Mean over items of the share of right answers; None without finished runs."""
    accuracy_interval: Interval | None = result(lambda tally: tally.accuracy_interval)
    """95 % interval of ``accuracy``; items are the independent units."""
    mean_score: float | None = result(lambda tally: tally.mean_score)
    """Mean over items of the scores; equal to ``accuracy`` if every score is 0 or 1."""
    mean_score_interval: Interval | None = result(lambda tally: tally.mean_score_interval)
    """95 % interval of ``mean_score``; items are the independent units."""
    cost_tokens: float | None = result(lambda tally: tally.mean_cost_tokens, heading="cost")
    """Mean cost per answer in tokens, over the runs with an answer."""
    total_cost_tokens: int = total(lambda record: record.cost_tokens)
    seconds: float | None = result(lambda tally: tally.mean_seconds, heading="seconds", decimals=1)
    """Mean time per answer, over the runs with an answer. It includes the time spent waiting for
    other questions: compare it only between runs with equal concurrency."""
    usage: Usage = total(lambda record: record.usage, start=Usage())
    """Sum over all runs with an answer."""
    wall_seconds: float = result(lambda tally: tally.wall_seconds)
    tokens_per_second: float = result(lambda tally: tally.tokens_per_second, heading="tokens/s")
    """Tokens decoded (``usage.generated_tokens``) per second of ``wall_seconds``."""
    curves: Mapping[str, Sequence[CurvePoint]] = result(lambda tally: tally.draws.curves())
    """Node → its pass@k and vote@k, for nodes with several samples."""
    warnings: Sequence[str] = result(lambda tally: tally.warnings)
    """Reasons to distrust the result."""
    run: str
    """The run's folder."""
    interrupted: bool = False
    num_reasoning_cut_off: int = total(lambda record: record.num_reasoning_cut_off, default=0)
    """Completions of all runs that ended within their reasoning, without an answer."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data, as ``archon eval --json`` prints it."""
        return asdict(self)


TABLE_COLUMNS = {
    column.name: (column.metadata["heading"], column.metadata["decimals"])
    for column in fields(Report)
    if column.metadata.get("heading")
}
"""Column of a table → its heading and decimals."""
_RESULTS = {column.name: column.metadata for column in fields(Report) if "of" in column.metadata}
_TOTALS = {column.name: column.metadata for column in fields(Report) if "each" in column.metadata}


@dataclass
class Tally:
    """Sums over the records of a run; texts are not kept."""

    right: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    scores: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Item → the scores of its runs."""
    totals: dict[str, Any] = field(
        default_factory=lambda: {name: column["start"] for name, column in _TOTALS.items()}
    )
    """Column of a report → its sum so far."""
    errors: Counter[str] = field(default_factory=Counter)
    """Message → number of runs that failed with it."""
    has_partial_scores: bool = False
    """Whether any score is strictly between 0 and 1."""
    num_samples: int = 0
    answer_seconds: float = 0.0
    """Of all runs with an answer."""
    draws: NodeDraws = field(default_factory=NodeDraws)
    wall_seconds: float = 0.0

    def add(self, record: Record) -> None:
        """Count one finished run of an item."""
        self.right[record.item] += record.is_right
        self.runs[record.item] += 1
        self.scores[record.item].append(record.score)
        self.has_partial_scores |= 0 < record.score < 1
        if record.error is not None:
            self.errors[record.error] += 1
        else:
            self.answer_seconds += record.seconds
        for name, column in _TOTALS.items():
            self.totals[name] += column["each"](record)
        self.num_samples += record.samples
        self.draws.add(record)

    @classmethod
    def of(cls, records: Iterable[Record]) -> Tally:
        """Add up records."""
        tally = cls()
        for record in records:
            tally.add(record)
        return tally

    @property
    def num_errors(self) -> int:
        """Failed runs."""
        return self.errors.total()

    @property
    def cost_tokens(self) -> int:
        """Cost of all runs."""
        return int(self.totals["total_cost_tokens"])

    @property
    def usage(self) -> Usage:
        """Usage of all runs."""
        usage: Usage = self.totals["usage"]
        return usage

    @property
    def num_runs(self) -> int:
        """Finished runs."""
        return self.runs.total()

    @property
    def item_means(self) -> dict[str, float]:
        """Item → share of its runs that were right."""
        return {item: self.right[item] / runs for item, runs in self.runs.items()}

    @property
    def item_scores(self) -> dict[str, float]:
        """Item → mean score of its runs."""
        return {item: fmean(scores) for item, scores in self.scores.items()}

    @property
    def num_answers(self) -> int:
        """Finished runs with an answer."""
        return self.num_runs - self.num_errors

    @property
    def mean_cost_tokens(self) -> float | None:
        """Mean cost per answer; None without answers."""
        return self.cost_tokens / self.num_answers if self.num_answers else None

    @property
    def mean_seconds(self) -> float | None:
        """Mean time per answer; None without answers."""
        return self.answer_seconds / self.num_answers if self.num_answers else None

    @property
    def accuracy(self) -> float | None:
        """Mean over items of the share of right answers; None without finished runs."""
        return fmean(self.item_means.values()) if self.runs else None

    @property
    def accuracy_interval(self) -> Interval | None:
        """95 % interval of ``accuracy``; items are the independent units."""
        return mean_interval(list(self.item_means.values()), self.num_runs) if self.runs else None

    @property
    def mean_score(self) -> float | None:
        """Mean over items of the scores; None without finished runs."""
        return fmean(self.item_scores.values()) if self.has_partial_scores else self.accuracy

    @property
    def mean_score_interval(self) -> Interval | None:
        """95 % interval of ``mean_score``; items are the independent units."""
        if not self.has_partial_scores:
            return self.accuracy_interval
        return score_interval(list(self.item_scores.values()))

    @property
    def warnings(self) -> list[str]:
        """Reasons to distrust the result."""
        if not self.runs:
            return []
        warning = accuracy_warning(list(self.item_means.values()), self.num_runs)
        warnings = [warning] if warning else []
        if cut_off := self.totals["num_reasoning_cut_off"]:
            warnings.append(cut_off_notice(cut_off, self.usage.calls))
        if failed := self.totals["num_failed_samples"]:
            failures = f"{failed} of {self.num_samples} samples failed"
            warnings.append(f"{failures}; their items were answered from the others")
        return warnings

    @property
    def tokens_per_second(self) -> float:
        """Decoded tokens per second of wall time."""
        return self.usage.generated_tokens / self.wall_seconds if self.wall_seconds else 0

    def value(self, column: str) -> Any:
        """Compute a column of a ``Report`` from the records."""
        return self.totals[column] if column in _TOTALS else _RESULTS[column]["of"](self)

    def results(self, wall_seconds: float) -> dict[str, Any]:
        """Compute all columns of a ``Report`` that follow from the records.

        Parameters
        ----------
        wall_seconds
            Duration of all sessions of the run.
        """
        tally = replace(self, wall_seconds=wall_seconds)
        return {name: tally.value(name) for name in (*_RESULTS, *_TOTALS)}
