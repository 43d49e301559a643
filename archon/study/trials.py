"""The trials of a study as they are kept in its storage, read back and added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from archon.errors import require
from archon.study.objectives import OBJECTIVES, ItemResult, means
from archon.study.trial_evaluation import Measured

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

Outcome = Literal["whole", "stopped", "repeated", "rejected", "failed"]

TOLD = "told"
"""The attribute of a trial that holds all of this."""
_PER_ITEM = ("accuracy", "tokens", "seconds", "failed")


@dataclass(frozen=True)
class TrialRecord:
    """What became of one trial."""

    number: int
    outcome: Outcome
    """``whole``: it saw every item. ``stopped``: it was hopeless before. ``repeated``: an earlier
    trial was the same architecture. ``rejected``: no point, or above a limit. ``failed``: no item
    could be answered."""
    point: Mapping[str, Any]
    digest: str | None = None
    reason: str | None = None
    results: Sequence[ItemResult] = ()
    generated_tokens: int = 0
    completion_tokens: int = 0
    """Those that it would have decoded without the pool."""
    cost_tokens: int = 0
    run: str | None = None
    is_feasible: bool = True
    """Whether it kept the limits as measured, too."""

    @cached_property
    def values(self) -> dict[str, float]:
        """Objective → mean over the items that it saw."""
        return means(self.results)

    def to_attribute(self) -> dict[str, Any]:
        """What is kept in the storage."""
        return {
            "outcome": self.outcome,
            "digest": self.digest,
            "reason": self.reason,
            "accuracy": [round(r.accuracy, 4) for r in self.results],
            "tokens": [round(r.tokens, 1) for r in self.results],
            "seconds": [round(r.seconds, 3) for r in self.results],
            "failed": [i for i, r in enumerate(self.results) if r.failed],
            "generated_tokens": self.generated_tokens,
            "completion_tokens": self.completion_tokens,
            "cost_tokens": self.cost_tokens,
            "run": self.run,
            "is_feasible": self.is_feasible,
        }

    @classmethod
    def of(cls, trial: FrozenTrial) -> TrialRecord | None:
        """The record of a trial that has been told; None where it was not told by us."""
        told = trial.user_attrs.get(TOLD)
        if not trial.state.is_finished() or told is None:
            return None
        failed = set(told["failed"])
        results = [
            ItemResult(accuracy, tokens, seconds, i in failed)
            for i, (accuracy, tokens, seconds) in enumerate(
                zip(told["accuracy"], told["tokens"], told["seconds"], strict=True)
            )
        ]
        kept = {key: value for key, value in told.items() if key not in _PER_ITEM}
        return cls(trial.number, point=trial.params, results=results, **kept)


def records(study: optuna.Study, known: dict[int, TrialRecord] | None = None) -> list[TrialRecord]:
    """Every trial that has been told, in order.

    Parameters
    ----------
    known
        What earlier calls found, which is not read again, as what is told stays as it is; what is
        found now is added.
    """
    require("optuna", "search")
    known = {} if known is None else known
    for trial in study.get_trials(deepcopy=False):
        if trial.number not in known and (record := TrialRecord.of(trial)) is not None:
            known[trial.number] = record
    return [known[number] for number in sorted(known)]


def counted(told: Sequence[TrialRecord]) -> int:
    """The trials that count: those that asked something."""
    return sum(record.outcome not in ("rejected", "repeated") for record in told)


def candidates_for_best(told: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Those that saw every item and kept the limits."""
    return [record for record in told if record.outcome == "whole" and record.is_feasible]


def front(told: Sequence[TrialRecord], objectives: Sequence[str]) -> list[TrialRecord]:
    """Of the whole trials within the limits those that no other dominates, the best first.

    Of several with the same values the one stands for all that is best in what is not sought.
    """
    found: list[TrialRecord] = []
    points: dict[tuple[float, ...], TrialRecord] = {}
    for record in ranked(told, objectives):
        values = record.values
        losses = tuple(-values[o] if OBJECTIVES[o] else values[o] for o in objectives)
        points.setdefault(losses, record)
    for losses, record in points.items():
        if not any(_dominates(other, losses) for other in points):
            found.append(record)
    return sorted(found, key=lambda record: _losses(record, objectives))


def ranked(told: Sequence[TrialRecord], objectives: Sequence[str]) -> list[TrialRecord]:
    """The whole trials within the limits, the best in the first objective first."""
    return sorted(candidates_for_best(told), key=lambda record: _losses(record, objectives))


def _losses(record: TrialRecord, objectives: Sequence[str]) -> tuple[float, ...]:
    values = record.values
    listed = (*objectives, *(name for name in ("accuracy", "tokens") if name not in objectives))
    return tuple(-values[name] if OBJECTIVES[name] else values[name] for name in listed)


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


@dataclass(frozen=True)
class StudyCost:
    """Tokens that the trials of a study decoded, and would have decoded otherwise."""

    generated_tokens: int
    """Decoded."""
    without_pool_tokens: int
    """The same trials, stopped as they were, each making all its draws."""
    without_both_tokens: int
    """The same trials run to the last item, each making all its draws."""
    cost_tokens: int
    """What the answers cost, draws that were found included."""

    @classmethod
    def of(cls, told: Sequence[TrialRecord], num_items: int) -> StudyCost:
        """The cost of trials of which each would have seen so many items."""
        asked = [record for record in told if record.results]
        return cls(
            sum(record.generated_tokens for record in asked),
            sum(record.completion_tokens for record in asked),
            round(sum(r.completion_tokens * num_items / len(r.results) for r in asked)),
            sum(record.cost_tokens for record in asked),
        )


def recorded(
    number: int, outcome: Outcome, point: Mapping[str, Any], digest: str, measured: Measured
) -> TrialRecord:
    """The record of a trial that asked something."""
    return TrialRecord(
        number,
        outcome,
        point,
        digest,
        measured.error,
        measured.results,
        measured.generated_tokens,
        measured.completion_tokens,
        measured.cost_tokens,
        measured.run,
    )
