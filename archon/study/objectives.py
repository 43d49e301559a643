"""What a search seeks, and the limits that it keeps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from archon.errors import UsageError
from archon.spec.messages import suggestion

OBJECTIVES: Mapping[str, bool] = {"accuracy": True, "tokens": False, "seconds": False}
"""Name → whether more of it is better. Tokens and seconds are those of an answer, on average."""

IN_SPACE = "space"
"""The constraint of being a point of the space at all."""


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What came of one item in a trial."""

    accuracy: float
    tokens: float
    """The cost of the answer."""
    seconds: float
    failed: bool = False


def parse_objectives(text: str) -> tuple[str, ...]:
    """The objectives in ``accuracy,tokens``.

    Raises
    ------
    UsageError
        There is no such objective, or one is named twice.
    """
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in OBJECTIVES:
            raise UsageError(f"no objective {name!r}{suggestion(name, OBJECTIVES)}")
    if len(set(names)) < len(names):
        raise UsageError(f"an objective is named twice: {text}")
    return names


def means(results: Sequence[ItemResult]) -> dict[str, float]:
    """Objective → its mean: the accuracy over all items, the rest over those that did not fail."""
    answered = [result for result in results if not result.failed] or results
    return {
        "accuracy": fmean(result.accuracy for result in results),
        "tokens": fmean(result.tokens for result in answered),
        "seconds": fmean(result.seconds for result in answered),
    }


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """What an answer may take on average; None is no limit."""

    tokens: float | None = None
    calls: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name, limit in self.given.items():
            if limit <= 0:
                raise UsageError(f"a limit of {name} must be above 0, not {limit:g}")

    @property
    def given(self) -> dict[str, float]:
        """Name → limit, of those that there are."""
        limits = {"tokens": self.tokens, "calls": self.calls, "seconds": self.seconds}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def is_surely_broken(self, sums: Mapping[str, float], num_items: int) -> bool:
        """Whether the mean over all items will be above a limit, even if the rest takes nothing.

        Parameters
        ----------
        sums
            ``tokens`` and ``seconds`` of the answers so far, together.
        """
        return any(
            sums[name] > limit * num_items for name, limit in self.given.items() if name in sums
        )

    def is_likely_broken(self, results: Sequence[ItemResult]) -> bool:
        """Whether the mean over first items is above a limit by more than chance would have it.

        That is by two standard errors: one item says nothing of its kind.
        """
        answered = [result for result in results if not result.failed]
        if len(answered) < 2:
            return False
        for name, limit in self.given.items():
            if name == "calls":  # known before a trial begins
                continue
            amounts = [getattr(result, name) for result in answered]
            error = stdev(amounts) / math.sqrt(len(amounts))
            if fmean(amounts) - 2 * error > limit:
                return True
        return False

    def excess(self, amounts: Mapping[str, float]) -> dict[str, float]:
        """Limit → by which share of it an amount is above; 0 or less is within.

        A limit on what is not known is taken to be kept.
        """
        return {
            name: amounts[name] / limit - 1 if name in amounts else 0.0
            for name, limit in self.given.items()
        }
