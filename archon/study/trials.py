"""Records of a study's trials: store them in Optuna's storage, read, rank and summarize them."""

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
"""Name of the Optuna trial attribute that contains the trial's record."""


@dataclass(frozen=True)
class TrialRecord:
    """The outcome of one trial."""

    number: int
    outcome: Outcome
    """``whole``: the trial is complete. ``stopped``: it ended early, because it was unpromising or
    above a limit. ``repeated``: an earlier trial had the same architecture. ``rejected``: the
    configuration is forbidden, or is expected to exceed a limit. ``failed``: every item failed."""
    point: Mapping[str, Any]
    digest: str | None = None
    reason: str | None = None
    results: Sequence[ItemResult] = ()
    generated_tokens: int = 0
    completion_tokens: int = 0
    """Tokens that the trial would have decoded without the pool."""
    cost_tokens: int = 0
    run: str | None = None
    is_feasible: bool = True
    """True if the trial's results are within the limits."""

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
        """Make the record of an evaluated trial; ``reason`` defaults to the trial's first error."""
        tokens = (measured.generated_tokens, measured.completion_tokens, measured.cost_tokens)
        reason = measured.error if reason is None else reason
        return cls(number, outcome, point, digest, reason, measured.results, *tokens, measured.run)

    @cached_property
    def values(self) -> dict[str, float]:
        """Objective → mean over the items that the trial was asked."""
        return means(self.results)

    def to_attribute(self) -> dict[str, Any]:
        """Return the data to store as the Optuna trial's attribute."""
        return {name: getattr(self, name) for name in _PLAIN} | {
            "accuracy": [round(r.accuracy, 4) for r in self.results],
            "tokens": [round(r.tokens, 1) for r in self.results],
            "seconds": [round(r.seconds, 3) for r in self.results],
            "failed": [i for i, r in enumerate(self.results) if r.failed],
        }

    @classmethod
    def of(cls, trial: FrozenTrial) -> TrialRecord | None:
        """Return the record of a trial; None if the trial is unfinished or has no record."""
        stored = trial.user_attrs.get(RECORD)
        if not trial.state.is_finished() or stored is None:
            return None
        items = zip(stored["accuracy"], stored["tokens"], stored["seconds"], strict=True)
        results = [ItemResult(*item, i in stored["failed"]) for i, item in enumerate(items)]
        others = {name: stored[name] for name in _PLAIN if name in stored}
        return cls(trial.number, point=trial.params, results=results, **others)


_PLAIN = [f.name for f in fields(TrialRecord) if f.name not in ("number", "point", "results")]
"""The fields that are stored in the attribute unchanged."""


def records(study: optuna.Study, known: dict[int, TrialRecord] | None = None) -> list[TrialRecord]:
    """Return the records of all finished trials, in order.

    Parameters
    ----------
    known
        Records from earlier calls, by number. Records never change, so these are not read again;
        new records are added to this mapping.
    """
    known = {} if known is None else known
    for trial in study.get_trials(deepcopy=False):
        if trial.number not in known and (record := TrialRecord.of(trial)) is not None:
            known[trial.number] = record
    return [known[number] for number in sorted(known)]


def counted(trials: Sequence[TrialRecord]) -> int:
    """Count the trials that asked at least one item."""
    return sum(record.outcome not in ("rejected", "repeated") for record in trials)


def candidates_for_best(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the complete trials within the limits."""
    return [record for record in trials if record.outcome == "whole" and record.is_feasible]


def front(trials: Sequence[TrialRecord], objectives: Sequence[str]) -> list[TrialRecord]:
    """Return the complete trials within the limits that no other trial dominates, best first.

    Of several trials with equal objective values, only the one that is best in the other values is
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
    """Return the completed trials that meet the limits, best first.

    Trials are ranked by the objectives in order, then by accuracy and tokens.
    """
    order = [*objectives, *(name for name in ("accuracy", "tokens") if name not in objectives)]
    return sorted(candidates_for_best(trials), key=lambda record: losses(record.values, order))


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


@dataclass(frozen=True)
class StudyCost:
    """Tokens decoded by a study's trials, actually and without the pool or early stopping."""

    generated_tokens: int
    """Tokens actually decoded."""
    without_pool_tokens: int
    """Tokens if each trial had generated all its samples, with the same early stopping."""
    without_both_tokens: int
    """Tokens if each trial had generated all its samples and run to the last item."""
    cost_tokens: int
    """The cost of the answers, including samples from the pool."""

    @classmethod
    def of(cls, trials: Sequence[TrialRecord], num_items: int) -> StudyCost:
        """Add up the cost of trials; a complete trial has ``num_items`` items."""
        asked = [record for record in trials if record.results]
        return cls(
            sum(record.generated_tokens for record in asked),
            sum(record.completion_tokens for record in asked),
            round(sum(r.completion_tokens * num_items / len(r.results) for r in asked)),
            sum(record.cost_tokens for record in asked),
        )
