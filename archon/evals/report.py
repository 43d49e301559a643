# ruff: noqa: RUF009 - the columns of a report are made by functions that return fields
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
    """A column that adds up a figure of every record.

    Parameters
    ----------
    each
        The figure of a record.
    start
        The sum of no records.
    default
        The column's value in reports of versions that had no such column.
    """
    return field(default=default, metadata={"each": each, "start": start})


def result(of: Callable[[Tally], Any], *, heading: str = "", decimals: int = 0) -> Any:
    """A column that follows from all records.

    Parameters
    ----------
    of
        Computes it from their tally.
    heading
        Of the column in the table of ``archon compare``, which leaves out those without.
    decimals
        Shown there.
    """
    return field(metadata={"of": of, "heading": heading, "decimals": decimals})


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of evaluating one architecture on the items of one benchmark.

    Each column is defined here, once: what it is computed from, and how tables show it.
    """

    architecture: str
    benchmark: str
    split: str
    scorer: str
    answer: str
    """The kind of answer asked for: number, text or code."""
    limit: int | None
    epochs: int
    seed: int
    models: Mapping[str, str | None]
    """Role → name of the model; None for a model object of a program."""
    num_items: int = result(lambda tally: len(tally.runs))
    """Items with at least one finished run, failed ones included."""
    num_runs: int = result(lambda tally: tally.num_runs)
    """Finished runs of items: ``num_items`` times ``epochs``, unless it was interrupted."""
    num_errors: int = total(lambda record: record.error is not None)
    """Runs that failed; they count as wrong answers."""
    errors: Sequence[Cause] = result(lambda tally: causes(tally.errors))
    """Why they failed: each cause with the number of failures, the most frequent first."""
    num_without_value: int = total(lambda record: record.has_no_value)
    """Runs that gave an answer from which no value could be read."""
    num_failed_samples: int = total(lambda record: record.failed_samples)
    """Samples that failed in runs that gave an answer, which was made from the others."""
    num_limited: int = total(lambda record: record.limited_by is not None)
    """Runs that the budget cut short, and that gave an answer all the same."""
    accuracy: float | None = result(lambda tally: tally.accuracy)
    """Mean over items of the share of right answers; None if nothing was finished."""
    accuracy_interval: Interval | None = result(lambda tally: tally.accuracy_interval)
    """95 % interval of ``accuracy``, with items as the units of chance."""
    mean_score: float | None = result(lambda tally: tally.mean_score)
    """Mean over items of the scores, partial ones included; equal to ``accuracy`` where every score
    is 0 or 1."""
    mean_score_interval: Interval | None = result(lambda tally: tally.mean_score_interval)
    """95 % interval of ``mean_score``, with items as the units of chance."""
    cost_tokens: float | None = result(lambda tally: tally.mean_cost_tokens, heading="cost")
    """Mean cost of an answer in tokens, over the runs that gave one."""
    total_cost_tokens: int = total(lambda record: record.cost_tokens)
    seconds: float | None = result(lambda tally: tally.mean_seconds, heading="seconds", decimals=1)
    """Mean time of an answer, over the runs that gave one. It includes the time that the answer
    waited for other questions: compare it between runs with equal concurrency."""
    usage: Usage = total(lambda record: record.usage, start=Usage())
    """Sum over all runs that gave an answer."""
    wall_seconds: float = result(lambda tally: tally.wall_seconds)
    tokens_per_second: float = result(lambda tally: tally.tokens_per_second, heading="tokens/s")
    """Tokens decoded (``usage.generated_tokens``) per second of ``wall_seconds``."""
    curves: Mapping[str, Sequence[CurvePoint]] = result(lambda tally: tally.draws.curves())
    """Node → its pass@k and vote@k, for the nodes that sampled several times."""
    warnings: Sequence[str] = result(lambda tally: tally.warnings + tally.lost_samples)
    """Why the result says little."""
    run: str
    """The run's folder."""
    interrupted: bool = False
    num_reasoning_cut_off: int = total(lambda record: record.num_reasoning_cut_off, default=0)
    """Completions of all runs that ended within their reasoning, and so gave no answer."""

    def to_json(self) -> dict[str, Any]:
        """The same as plain data, which ``archon eval --json`` prints."""
        return asdict(self)


TABLE_COLUMNS = {
    column.name: (column.metadata["heading"], column.metadata["decimals"])
    for column in fields(Report)
    if column.metadata.get("heading")
}
"""Column of a table → its heading and its decimals."""
_RESULTS = {column.name: column.metadata for column in fields(Report) if "of" in column.metadata}
_TOTALS = {column.name: column.metadata for column in fields(Report) if "each" in column.metadata}


def _no_totals() -> dict[str, Any]:
    return {name: total["start"] for name, total in _TOTALS.items()}


@dataclass
class Tally:
    """The records of a run, added up as they are finished; texts are not kept."""

    right: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    scores: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Item → the scores of its runs."""
    totals: dict[str, Any] = field(default_factory=_no_totals)
    """Column of a report → its sum so far."""
    errors: Counter[str] = field(default_factory=Counter)
    """Message → the runs that failed with it."""
    has_partial_scores: bool = False
    """Whether any score lies between 0 and 1."""
    num_samples: int = 0
    answer_seconds: float = 0.0
    """Of all runs that gave an answer."""
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
        for name, total in _TOTALS.items():
            self.totals[name] += total["each"](record)
        self.num_samples += record.samples
        self.draws.add(record)

    @classmethod
    def of(cls, records: Iterable[Record]) -> Tally:
        """The tally of finished runs."""
        tally = cls()
        for record in records:
            tally.add(record)
        return tally

    @property
    def num_errors(self) -> int:
        """Runs that failed."""
        return self.errors.total()

    @property
    def cost_tokens(self) -> int:
        """The cost of all runs."""
        return int(self.totals["total_cost_tokens"])

    @property
    def usage(self) -> Usage:
        """The usage of all runs."""
        usage: Usage = self.totals["usage"]
        return usage

    @property
    def num_runs(self) -> int:
        """Finished runs."""
        return self.runs.total()

    @property
    def item_means(self) -> dict[str, float]:
        """Item → the share of its runs that were right."""
        return {item: self.right[item] / runs for item, runs in self.runs.items()}

    @property
    def item_scores(self) -> dict[str, float]:
        """Item → the mean score of its runs."""
        return {item: fmean(scores) for item, scores in self.scores.items()}

    @property
    def num_answers(self) -> int:
        """Finished runs that gave an answer."""
        return self.num_runs - self.num_errors

    @property
    def mean_cost_tokens(self) -> float | None:
        """Mean cost of an answer; None if there is none."""
        return self.cost_tokens / self.num_answers if self.num_answers else None

    @property
    def mean_seconds(self) -> float | None:
        """Mean time an answer took; None if there is none."""
        return self.answer_seconds / self.num_answers if self.num_answers else None

    @property
    def accuracy(self) -> float | None:
        """Mean over items of the share of right answers; None if nothing was finished."""
        return fmean(self.item_means.values()) if self.runs else None

    @property
    def accuracy_interval(self) -> Interval | None:
        """95 % interval of ``accuracy``, items being the units of chance."""
        return mean_interval(list(self.item_means.values()), self.num_runs) if self.runs else None

    @property
    def mean_score(self) -> float | None:
        """Mean over items of the scores; None if nothing was finished."""
        return fmean(self.item_scores.values()) if self.has_partial_scores else self.accuracy

    @property
    def mean_score_interval(self) -> Interval | None:
        """95 % interval of ``mean_score``, items being the units of chance."""
        if not self.has_partial_scores:
            return self.accuracy_interval
        return score_interval(list(self.item_scores.values()))

    @property
    def warnings(self) -> list[str]:
        """What keeps the accuracy from telling much."""
        if not self.runs:
            return []
        warning = accuracy_warning(list(self.item_means.values()), self.num_runs)
        warnings = [warning] if warning else []
        if cut_off := self.totals["num_reasoning_cut_off"]:
            warnings.append(cut_off_notice(cut_off, self.usage.calls))
        return warnings

    @property
    def lost_samples(self) -> list[str]:
        """The warning that samples failed."""
        failed = self.totals["num_failed_samples"]
        if not failed:
            return []
        return [
            f"{failed} of {self.num_samples} samples failed; "
            "their items were answered from the others"
        ]

    @property
    def tokens_per_second(self) -> float:
        """Tokens decoded per second of the wall time."""
        return self.usage.generated_tokens / self.wall_seconds if self.wall_seconds else 0

    def value(self, column: str) -> Any:
        """A column of a ``Report`` that follows from the records."""
        return self.totals[column] if column in _TOTALS else _RESULTS[column]["of"](self)

    def results(self, wall_seconds: float) -> dict[str, Any]:
        """The columns of a ``Report`` that follow from the records.

        Parameters
        ----------
        wall_seconds
            The time of all sessions of the run.
        """
        tally = replace(self, wall_seconds=wall_seconds)
        return {name: tally.value(name) for name in (*_RESULTS, *_TOTALS)}
