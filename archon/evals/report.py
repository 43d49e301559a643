# ruff: noqa: RUF009 - functions that return fields make the columns of a report
"""Reports: the results of runs, computed from their records. Each figure is a column."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from statistics import fmean
from typing import Any

from archon.evals.compute import ComputeTally
from archon.evals.failures import Cause, causes
from archon.evals.groups import Group, group_name, group_results
from archon.evals.html import interval_text, number_text
from archon.evals.metrics import Metric, MetricTally
from archon.evals.pass_at_k import CurvePoint, NodeDraws
from archon.evals.power import accuracy_warning
from archon.evals.records import Record
from archon.evals.statistics import Interval, mean_interval, score_interval
from archon.graph.html import block, table
from archon.lm.compute import ModelUsage
from archon.lm.custom.token_counts import INCOMPLETE_COST
from archon.reasoning import cut_off_notice
from archon.types import Usage


def total(each: Callable[[Record], Any], *, start: Any = 0, default: Any = MISSING) -> Any:
    """Declare a column of ``Report`` that is a sum over all records.

    Parameters
    ----------
    each
        Record → its summand.
    start
        The sum for a run without records.
    default
        The value for stored reports that were written before the column existed.
    """
    return field(default=default, metadata={"each": each, "start": start})


def result(
    of: Callable[[Tally], Any], *, heading: str = "", decimals: int = 0, default: Any = MISSING
) -> Any:
    """Declare a column of ``Report`` that is computed from the tally of all records.

    Parameters
    ----------
    of
        Tally → value of the column.
    heading
        The column's heading in the table of ``archon compare``. The table omits columns without a
        heading.
    decimals
        Number of decimals in that table.
    default
        The value for stored reports that were written before the column existed.
    """
    return field(default=default, metadata={"of": of, "heading": heading, "decimals": decimals})


_COST_TOO_LOW = "the cost and the usage are too low"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Report:
    """The result of evaluating one architecture on the items of one benchmark.

    Each field is a column. Its declaration also says how it is computed and shown in tables.
    """

    architecture: str
    benchmark: str
    split: str
    scorer: str
    answer: str
    """The kind of answer: ``number``, ``text`` or ``code``."""
    limit: int | None
    epochs: int
    seed: int
    models: Mapping[str, str | None]
    """Role → name of the model; None for a custom model that was passed as an object."""
    num_items: int = result(lambda tally: len(tally.runs))
    """Number of items with at least one answer or failure."""
    num_runs: int = result(lambda tally: tally.num_runs)
    """Number of answers and failures. For a complete run, it is ``num_items`` times ``epochs``."""
    num_errors: int = total(lambda record: record.error is not None)
    """Number of failures; they count as wrong answers."""
    errors: Sequence[Cause] = result(lambda tally: causes(tally.errors))
    """The causes of the failures, most frequent first."""
    num_without_value: int = total(lambda record: record.has_no_value)
    """Number of answers from which no value could be read."""
    num_failed_samples: int = total(lambda record: record.failed_samples)
    """Number of failed samples over all answers; the answers are based on the remaining samples."""
    num_limited: int = total(lambda record: record.limited_by is not None)
    """Number of answers that the budget cut short."""
    accuracy: float | None = result(lambda tally: tally.accuracy)
    """Mean over the items of the share of right answers; None for an empty run."""
    accuracy_interval: Interval | None = result(lambda tally: tally.accuracy_interval)
    """95% confidence interval of ``accuracy``."""
    mean_score: float | None = result(lambda tally: tally.mean_score)
    """Mean over the items of their mean score; equal to ``accuracy`` if every score is 0 or 1."""
    mean_score_interval: Interval | None = result(lambda tally: tally.mean_score_interval)
    """95% confidence interval of ``mean_score``."""
    cost_tokens: float | None = result(lambda tally: tally.mean_cost_tokens, heading="cost")
    """Mean cost per answer in tokens; None if there are no answers."""
    total_cost_tokens: int = total(lambda record: record.cost_tokens)
    """Cost of all answers in tokens."""
    seconds: float | None = result(lambda tally: tally.mean_seconds, heading="seconds", decimals=1)
    """Mean time per answer. It includes time spent waiting for other questions, so it is comparable
    only between runs with the same concurrency."""
    usage: Usage = total(lambda record: record.usage, start=Usage())
    """Total usage of all answers."""
    wall_seconds: float = result(lambda tally: tally.wall_seconds)
    """Total duration of all sessions of the run."""
    tokens_per_second: float = result(lambda tally: tally.tokens_per_second, heading="tokens/s")
    """Generated tokens (``usage.generated_tokens``) per second of ``wall_seconds``."""
    curves: Mapping[str, Sequence[CurvePoint]] = result(lambda tally: tally.draws.curves())
    """Node → its pass@k and vote@k, for nodes that make several samples."""
    warnings: Sequence[str] = result(lambda tally: tally.warnings)
    """Reasons why the result may be unreliable."""
    run: str
    """The path of the run's folder."""
    interrupted: bool = False
    """True if some items have neither an answer nor a failure so far."""
    num_reasoning_cut_off: int = total(lambda record: record.num_reasoning_cut_off, default=0)
    """Number of completions that have no answer because they ended during their reasoning."""
    scoring_usage: Usage = total(
        lambda record: record.scoring_usage, start=Usage(), default=Usage()
    )
    """Total usage of the scorers' models, such as judges. It is no part of ``usage`` and the cost,
    which are the architecture's."""
    metrics: Mapping[str, Metric] | None = result(
        lambda tally: tally.metrics.summary(), default=None
    )
    """Name → mean of a scorer after the first, or of a figure that a scorer returned. Failures
    count as scores of 0; figures leave them out."""
    groups: Mapping[str, Sequence[Group]] | None = result(
        lambda tally: tally.groups(), default=None
    )
    """Column → the result of the items with each of its values."""
    compute: float | None = result(lambda tally: tally.mean_compute, default=None)
    """Mean compute per answer in FLOPs (``archon.lm.compute``); None if that of a model is unknown,
    or there are no answers."""
    usage_by_model: Mapping[str, ModelUsage] | None = result(
        lambda tally: tally.compute.by_model, default=None
    )
    """Name of each model → its usage and compute for all answers."""
    energy_joules: float | None = result(lambda tally: tally.mean_energy_joules, default=None)
    """Energy that the machine used during the run, per answer; None if no counter can be read
    (``archon.evals.energy``). Stored samples use none."""

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain data, as printed by ``archon eval --json``.

        Columns that are newer than the format are omitted if they are empty or unknown.
        """
        data = asdict(self)
        if self.scoring_usage == Usage():
            data["scoring_usage"] = None
        return {name: value for name, value in data.items() if value or name not in _OMITTED}

    def __repr__(self) -> str:
        state = ", interrupted" if self.interrupted else ""
        return (
            f"<Report of {self.architecture} on {self.benchmark}: "
            f"{interval_text(self.accuracy, self.accuracy_interval)} of {self.num_items} items, "
            f"{self._cost_text()} tokens per answer{state}>"
        )

    def _cost_text(self) -> str:
        """Return the cost; "at least" precedes it if answers lack token counts."""
        is_incomplete = any(warning.endswith(_COST_TOO_LOW) for warning in self.warnings)
        return ("at least " if is_incomplete else "") + number_text(self.cost_tokens)

    def _repr_html_(self) -> str:
        """Return HTML for notebooks: the results, groups and metrics, and the warnings."""
        cost = self._cost_text()
        rows = [
            ("accuracy [95%]", interval_text(self.accuracy, self.accuracy_interval)),
            ("items, answers", f"{self.num_items}, {self.num_runs}"),
            ("failed answers", str(self.num_errors)),
            ("answers without a value", str(self.num_without_value)),
            ("cost per answer", f"{cost} tokens, {number_text(self.seconds, 1)} s"),
            ("models", ", ".join(f"{role}: {name}" for role, name in self.models.items())),
            ("run", self.run),
        ]
        if self.mean_score != self.accuracy:
            low_high = interval_text(self.mean_score, self.mean_score_interval)
            rows.insert(1, ("mean score [95%]", low_high))
        title = f"{self.architecture} on {self.benchmark} ({self.split}, {self.scorer})"
        failures = [f"{cause['count']} failed: {cause['cause']}" for cause in self.errors]
        interrupted = ["the run is not finished"] if self.interrupted else []
        return block(title, [table(("", ""), rows)], [*interrupted, *self.warnings, *failures])


_OMITTED = (
    "metrics", "groups", "scoring_usage", "compute", "usage_by_model", "energy_joules",
)  # fmt: skip
TABLE_COLUMNS = {
    column.name: (column.metadata["heading"], column.metadata["decimals"])
    for column in fields(Report)
    if column.metadata.get("heading")
}
"""Column of ``Report`` that tables show → (heading, number of decimals)."""
_RESULTS = {column.name: column.metadata for column in fields(Report) if "of" in column.metadata}
_TOTALS = {column.name: column.metadata for column in fields(Report) if "each" in column.metadata}


@dataclass
class Tally:
    """Running totals over the records of a run, from which reports are computed."""

    right: Counter[str] = field(default_factory=Counter)
    """Item → number of its right answers."""
    runs: Counter[str] = field(default_factory=Counter)
    """Item → number of its answers and failures."""
    scores: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Item → the scores of its answers; 0 for a failure."""
    totals: dict[str, Any] = field(
        default_factory=lambda: {name: column["start"] for name, column in _TOTALS.items()}
    )
    """Report column that is a sum → its current value."""
    errors: Counter[str] = field(default_factory=Counter)
    """Message → number of failures with this message."""
    has_partial_scores: bool = False
    """True if a score is strictly between 0 and 1."""
    num_samples: int = 0
    num_incomplete_costs: int = 0
    """Number of answers for which a model reported no token counts."""
    answer_seconds: float = 0.0
    """Total time of all answers."""
    draws: NodeDraws = field(default_factory=NodeDraws)
    metrics: MetricTally = field(default_factory=MetricTally)
    by: Sequence[str] = ()
    """Columns of the rows by which the results are grouped."""
    group_names: defaultdict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    """Column → item → its group."""
    wall_seconds: float = 0.0
    compute: ComputeTally = field(default_factory=ComputeTally)
    energy_joules: float | None = None

    def add(self, record: Record) -> None:
        """Add one record to all totals."""
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
        self.num_incomplete_costs += INCOMPLETE_COST in record.notes
        self.draws.add(record)
        self.metrics.add(record)
        self.compute.add(record)
        for by in self.by:
            self.group_names[by][record.item] = group_name(record.metadata, by)

    @classmethod
    def of(cls, records: Iterable[Record], by: Sequence[str] = ()) -> Tally:
        """Return the tally of these records, grouped by the columns ``by``."""
        tally = cls(by=by)
        for record in records:
            tally.add(record)
        return tally

    @property
    def num_errors(self) -> int:
        """Number of failures."""
        return self.errors.total()

    @property
    def cost_tokens(self) -> int:
        """Cost of all answers in tokens."""
        return int(self.totals["total_cost_tokens"])

    @property
    def usage(self) -> Usage:
        """Total usage of all answers."""
        usage: Usage = self.totals["usage"]
        return usage

    @property
    def num_runs(self) -> int:
        """Number of answers and failures."""
        return self.runs.total()

    @property
    def item_means(self) -> dict[str, float]:
        """Item → share of right answers; failures count as wrong."""
        return {item: self.right[item] / runs for item, runs in self.runs.items()}

    @property
    def item_scores(self) -> dict[str, float]:
        """Item → mean score; failures count as 0."""
        return {item: fmean(scores) for item, scores in self.scores.items()}

    @property
    def num_answers(self) -> int:
        """Number of answers, not counting failures."""
        return self.num_runs - self.num_errors

    @property
    def mean_cost_tokens(self) -> float | None:
        """Mean cost per answer in tokens; None if there are no answers."""
        return self.cost_tokens / self.num_answers if self.num_answers else None

    @property
    def mean_seconds(self) -> float | None:
        """Mean time per answer in seconds; None if there are no answers."""
        return self.answer_seconds / self.num_answers if self.num_answers else None

    @property
    def mean_compute(self) -> float | None:
        """Mean compute per answer in FLOPs; None if it is unknown or there are no answers."""
        total = self.compute.total
        return None if total is None or not self.num_answers else total / self.num_answers

    @property
    def mean_energy_joules(self) -> float | None:
        """Mean energy per answer in joules; None if it is unknown or there are no answers."""
        if self.energy_joules is None or not self.num_answers:
            return None
        return self.energy_joules / self.num_answers

    @property
    def accuracy(self) -> float | None:
        """Mean of ``item_means``; None if there are no answers or failures."""
        return fmean(self.item_means.values()) if self.runs else None

    @property
    def accuracy_interval(self) -> Interval | None:
        """95% confidence interval of ``accuracy``."""
        return mean_interval(list(self.item_means.values()), self.num_runs) if self.runs else None

    @property
    def mean_score(self) -> float | None:
        """Mean of ``item_scores``; None if there are no answers or failures."""
        return fmean(self.item_scores.values()) if self.has_partial_scores else self.accuracy

    @property
    def mean_score_interval(self) -> Interval | None:
        """95% confidence interval of ``mean_score``."""
        if not self.has_partial_scores:
            return self.accuracy_interval
        return score_interval(list(self.item_scores.values()))

    @property
    def warnings(self) -> list[str]:
        """Reasons why the result may be unreliable."""
        if not self.runs:
            return []
        warning = accuracy_warning(list(self.item_means.values()), self.num_runs)
        warnings = [warning] if warning else []
        if cut_off := self.totals["num_reasoning_cut_off"]:
            warnings.append(cut_off_notice(cut_off, self.usage.calls))
        if failed := self.totals["num_failed_samples"]:
            failures = f"{failed} of {self.num_samples} samples failed"
            warnings.append(f"{failures}; the answers are based on the other samples")
        if self.num_incomplete_costs:
            warnings.append(
                f"{self.num_incomplete_costs} of {self.num_answers} answers lack token counts, so "
                + _COST_TOO_LOW
            )
        for scorer, number in self.metrics.errors.items():
            warnings.append(
                f"{scorer} could not score {number} of {self.num_answers} answers; its mean leaves "
                "them out"
            )
        return warnings

    def groups(self) -> dict[str, list[Group]]:
        """Return column → the result of each group."""
        means = self.item_means
        return {
            column: group_results(self.group_names[column], means, self.runs) for column in self.by
        }

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens per second of ``wall_seconds``; 0 if ``wall_seconds`` is unknown."""
        return self.usage.generated_tokens / self.wall_seconds if self.wall_seconds else 0

    def value(self, column: str) -> Any:
        """Compute one column of a ``Report``."""
        return self.totals[column] if column in _TOTALS else _RESULTS[column]["of"](self)

    def results(self, wall_seconds: float, energy_joules: float | None = None) -> dict[str, Any]:
        """Compute all columns of a ``Report`` that depend on the records.

        Parameters
        ----------
        wall_seconds
            Total duration of all sessions of the run.
        energy_joules
            Energy that the machine used in them; None if it is unknown.
        """
        tally = replace(self, wall_seconds=wall_seconds, energy_joules=energy_joules)
        return {name: tally.value(name) for name in (*_RESULTS, *_TOTALS)}
