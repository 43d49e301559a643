"""From records to results: the report on a run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from archon.evals.failures import Cause, causes
from archon.evals.pass_at_k import NodeDraws, Point
from archon.evals.power import accuracy_warning
from archon.evals.records import Record
from archon.evals.statistics import Interval, mean_interval, score_interval
from archon.reasoning import cut_off_notice
from archon.types import Usage


@dataclass(frozen=True, slots=True)
class Report:
    """The result of evaluating one architecture on the items of one benchmark."""

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
    """Role → name of the model; None for a program's own."""
    num_items: int
    """Items with at least one finished run, failed ones included."""
    num_runs: int
    """Finished runs of items: ``num_items`` times ``epochs``, unless it was interrupted."""
    num_errors: int
    """Runs that failed; they count as wrong answers."""
    errors: Sequence[Cause]
    """Why they failed: each cause with the number of failures, the most frequent first."""
    num_without_value: int
    """Runs that gave an answer from which no value could be read."""
    num_failed_samples: int
    """Samples that failed in runs that gave an answer, which was made from the others."""
    num_limited: int
    """Runs that the budget cut short, and that gave an answer all the same."""
    accuracy: float | None
    """Mean over items of the share of right answers; None if nothing was finished."""
    accuracy_interval: Interval | None
    """95 % interval of ``accuracy``, items being the units of chance."""
    mean_score: float | None
    """Mean over items of the scores, partial ones included; equal to ``accuracy`` where every score
    is 0 or 1."""
    mean_score_interval: Interval | None
    """95 % interval of ``mean_score``, items being the units of chance."""
    cost_tokens: float | None
    """Mean cost of an answer in tokens, over the runs that gave one."""
    total_cost_tokens: int
    seconds: float | None
    """Mean time an answer took, over the runs that gave one. What it waited while other questions
    were computed is in it: it compares runs that asked as many at once."""
    usage: Usage
    """Sum over all runs that gave an answer."""
    wall_seconds: float
    tokens_per_second: float
    """Tokens really decoded (``usage.generated_tokens``) in a second of ``wall_seconds``."""
    curves: Mapping[str, Sequence[Point]]
    """Node → its pass@k and vote@k, for the nodes that drew several times."""
    warnings: Sequence[str]
    """What keeps the result from telling much."""
    run: str
    """The run's folder."""
    interrupted: bool = False
    num_reasoning_cut_off: int = 0
    """Completions of all runs that ended within their reasoning, and so gave no answer."""

    def to_json(self) -> dict[str, Any]:
        """The same as plain data, which ``archon eval --json`` prints."""
        return asdict(self)


@dataclass
class Tally:
    """What a report needs of the records, added up as they come; texts are not kept."""

    right: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    scores: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Item → the scores of its runs."""
    num_errors: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """Message → the runs that failed with it."""
    has_partial_scores: bool = False
    """Whether any score lies between 0 and 1."""
    num_without_value: int = 0
    num_samples: int = 0
    num_failed_samples: int = 0
    num_limited: int = 0
    num_reasoning_cut_off: int = 0
    cost_tokens: int = 0
    usage: Usage = field(default_factory=Usage)
    answer_seconds: float = 0.0
    draws: NodeDraws = field(default_factory=NodeDraws)

    def add(self, record: Record) -> None:
        """Count one finished run of an item."""
        self.right[record.item] += record.is_right
        self.runs[record.item] += 1
        self.scores[record.item].append(record.score)
        self.has_partial_scores |= 0 < record.score < 1
        if record.error is not None:
            self.num_errors += 1
            self.errors[record.error] += 1
        self.num_without_value += record.has_no_value
        self.num_samples += record.samples
        self.num_failed_samples += record.failed_samples
        self.num_limited += record.limited_by is not None
        self.num_reasoning_cut_off += record.num_reasoning_cut_off
        self.cost_tokens += record.cost_tokens
        self.usage += record.usage
        if record.error is None:
            self.answer_seconds += record.seconds
        self.draws.add(record)

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
        if self.num_reasoning_cut_off:
            warnings.append(cut_off_notice(self.num_reasoning_cut_off, self.usage.calls))
        return warnings

    @property
    def lost_samples(self) -> list[str]:
        """The warning that samples failed."""
        if not self.num_failed_samples:
            return []
        return [
            f"{self.num_failed_samples} of {self.num_samples} samples failed; "
            "their items were answered from the others"
        ]

    def results(self, wall_seconds: float) -> dict[str, Any]:
        """The fields of a ``Report`` that follow from the records."""
        return {
            "num_items": len(self.runs),
            "num_runs": self.num_runs,
            "num_errors": self.num_errors,
            "errors": causes(self.errors),
            "num_without_value": self.num_without_value,
            "num_failed_samples": self.num_failed_samples,
            "num_limited": self.num_limited,
            "num_reasoning_cut_off": self.num_reasoning_cut_off,
            "accuracy": self.accuracy,
            "accuracy_interval": self.accuracy_interval,
            "mean_score": self.mean_score,
            "mean_score_interval": self.mean_score_interval,
            "cost_tokens": self.mean_cost_tokens,
            "total_cost_tokens": self.cost_tokens,
            "seconds": self.mean_seconds,
            "usage": self.usage,
            "wall_seconds": wall_seconds,
            "tokens_per_second": self.usage.generated_tokens / wall_seconds if wall_seconds else 0,
            "curves": self.draws.curves(),
            "warnings": self.warnings + self.lost_samples,
        }
