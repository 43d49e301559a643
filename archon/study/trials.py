"""Records of trials: read from and written to Optuna's storage, ranked, and summed up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from archon.study.objectives import ItemResult, losses, means
from archon.study.trial_evaluation import Measured

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

Outcome = Literal["whole", "stopped", "repeated", "rejected", "failed"]

RECORD = "told"
"""Name of the trial attribute in Optuna's storage that contains the record."""


@dataclass(frozen=True)
class TrialRecord:
    """The outcome of one trial."""

    number: int
    outcome: Outcome
    """``whole``: every item was asked. ``stopped``: the trial was hopeless or above a limit.
    ``repeated``: an earlier trial had the same architecture. ``rejected``: the configuration is
    forbidden, or expected to exceed a limit. ``failed``: every item failed."""
    point: Mapping[str, Any]
    digest: str | None = None
    reason: str | None = None
    results: Sequence[ItemResult] = ()
    generated_tokens: int = 0
    completion_tokens: int = 0
    """Tokens that the trial would have decoded without stored samples."""
    cost_tokens: int = 0
    run: str | None = None
    is_feasible: bool = True
    """Whether the results are within the limits of the search."""

    @classmethod
    def of_measured(
        cls,
        number: int,
        point: Mapping[str, Any],
        digest: str,
        measured: Measured,
        outcome: Outcome,
        reason: str | None = None,
    ) -> TrialRecord:
        """Make the record of a trial from its results; ``reason`` defaults to the first error."""
        tokens = (measured.generated_tokens, measured.completion_tokens, measured.cost_tokens)
        reason = measured.error if reason is None else reason
        return cls(number, outcome, point, digest, reason, measured.results, *tokens, measured.run)

    @cached_property
    def values(self) -> dict[str, float]:
        """Objective → mean over the items that were asked."""
        return means(self.results)

    def to_attribute(self) -> dict[str, Any]:
        """Return the value of the trial attribute ``RECORD``, plain JSON data."""
        return {name: getattr(self, name) for name in _PLAIN} | {
            "accuracy": [round(r.accuracy, 4) for r in self.results],
            "tokens": [round(r.tokens, 1) for r in self.results],
            "seconds": [round(r.seconds, 3) for r in self.results],
            "failed": [i for i, r in enumerate(self.results) if r.failed],
            **self._compute_attribute(),
        }

    def _compute_attribute(self) -> dict[str, Any]:
        """Return the compute of each item, if that of an item is known."""
        known = [r.compute for r in self.results if not r.failed and r.compute is not None]
        return {"compute": [result.compute for result in self.results]} if known else {}

    @classmethod
    def of(cls, trial: FrozenTrial) -> TrialRecord | None:
        """Return the record of a trial; None if the trial is unfinished or has no record."""
        stored = trial.user_attrs.get(RECORD)
        if not trial.state.is_finished() or stored is None:
            return None
        items = zip(stored["accuracy"], stored["tokens"], stored["seconds"], strict=True)
        compute = stored.get("compute") or [None] * len(stored["accuracy"])
        results = [
            ItemResult(*item, i in stored["failed"], compute[i]) for i, item in enumerate(items)
        ]
        others = {name: stored[name] for name in _PLAIN if name in stored}
        return cls(trial.number, point=trial.params, results=results, **others)


_PLAIN = [f.name for f in fields(TrialRecord) if f.name not in ("number", "point", "results")]
"""Fields that are stored unchanged in the trial attribute."""


def records(study: optuna.Study, known: dict[int, TrialRecord] | None = None) -> list[TrialRecord]:
    """Return the records of all finished trials, in order.

    Parameters
    ----------
    known
        Cache of records by trial number, to which new records are added. Records never change, so
        those in it are not read again.
    """
    known = {} if known is None else known
    for trial in study.get_trials(deepcopy=False):
        if trial.number not in known and (record := TrialRecord.of(trial)) is not None:
            known[trial.number] = record
    return [known[number] for number in sorted(known)]


def counted(trials: Sequence[TrialRecord]) -> int:
    """Return the number of trials in which at least one item was asked."""
    return sum(record.outcome not in ("rejected", "repeated") for record in trials)


def candidates_for_best(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the complete trials within the limits."""
    return [record for record in trials if record.outcome == "whole" and record.is_feasible]


def front(trials: Sequence[TrialRecord], objectives: Sequence[str]) -> list[TrialRecord]:
    """Return the Pareto front of the complete trials within the limits, the best first.

    Of several trials with equal objective values, only the one with the best other values is
    included.
    """
    points: dict[tuple[float, ...], TrialRecord] = {}
    for record in ranked(trials, objectives):
        points.setdefault(losses(record.values, objectives), record)
    return [
        record
        for point, record in points.items()
        if not any(_dominates(other, point) for other in points)
    ]


def ranked(trials: Sequence[TrialRecord], objectives: Sequence[str]) -> list[TrialRecord]:
    """Return the complete trials within the limits, ranked by the first objective."""
    order = [*objectives, *(name for name in ("accuracy", "tokens") if name not in objectives)]
    return sorted(candidates_for_best(trials), key=lambda record: losses(record.values, order))


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


@dataclass(frozen=True)
class StudyCost:
    """Tokens decoded by the trials of a study, and estimates of the tokens without savings."""

    generated_tokens: int
    """Tokens that were decoded."""
    without_pool_tokens: int
    """Tokens if each trial had generated all its samples instead of reusing stored ones."""
    without_both_tokens: int
    """Tokens if, in addition, no trial had been stopped early."""
    cost_tokens: int
    """Cost of the answers in tokens, including stored samples."""

    @classmethod
    def of(cls, trials: Sequence[TrialRecord], num_items: int) -> StudyCost:
        """Sum up the cost of trials; a complete trial has ``num_items`` items."""
        asked = [record for record in trials if record.results]
        return cls(
            sum(record.generated_tokens for record in asked),
            sum(record.completion_tokens for record in asked),
            round(sum(r.completion_tokens * num_items / len(r.results) for r in asked)),
            sum(record.cost_tokens for record in asked),
        )
