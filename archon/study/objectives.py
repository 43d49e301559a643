"""Objectives and limits of a search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from archon.errors import UsageError
from archon.spec.messages import suggestion

OBJECTIVES: Mapping[str, bool] = {"accuracy": True, "tokens": False, "seconds": False}
"""Objective → whether higher is better. Tokens and seconds are means per answer."""

IN_SPACE = "space"
"""Name of the constraint that a configuration must be valid in the space."""


@dataclass(frozen=True, slots=True)
class ItemResult:
    """The result of one item in a trial."""

    accuracy: float
    tokens: float
    """The cost of the answer."""
    seconds: float
    failed: bool = False


def parse_objectives(text: str) -> tuple[str, ...]:
    """Parse objectives such as ``accuracy,tokens``.

    Raises
    ------
    UsageError
        An objective is unknown or repeated.
    """
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in OBJECTIVES:
            raise UsageError(f"unknown objective {name!r}{suggestion(name, OBJECTIVES)}")
    if len(set(names)) < len(names):
        raise UsageError(f"the objectives {text!r} contain a duplicate")
    return names


def means(results: Sequence[ItemResult]) -> dict[str, float]:
    """Return the mean of each objective.

    Accuracy is the mean over all items; tokens and seconds are means over the answered items.
    """
    answered = [result for result in results if not result.failed] or results
    return {
        "accuracy": fmean(result.accuracy for result in results),
        "tokens": fmean(result.tokens for result in answered),
        "seconds": fmean(result.seconds for result in answered),
    }


def losses(values: Mapping[str, float], names: Sequence[str]) -> tuple[float, ...]:
    """Return the named values; those for which higher is better are negated."""
    return tuple(-values[name] if OBJECTIVES[name] else values[name] for name in names)


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """Upper bounds on the mean cost per answer; None means no limit."""

    tokens: float | None = None
    calls: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name, limit in self.given.items():
            if limit <= 0:
                raise UsageError(f"the limit on {name} must be above 0, not {limit:g}")

    @property
    def given(self) -> dict[str, float]:
        """Objective → limit, for the limits that are set."""
        limits = {"tokens": self.tokens, "calls": self.calls, "seconds": self.seconds}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def is_surely_broken(self, sums: Mapping[str, float], num_items: int) -> bool:
        """Return whether the mean over all items is certain to exceed a limit.

        This is the case if it exceeds a limit even if the remaining items cost nothing.

        Parameters
        ----------
        sums
            Totals of ``tokens`` and ``seconds`` over the answers so far.
        """
        return any(
            sums[name] > limit * num_items for name, limit in self.given.items() if name in sums
        )

    def is_likely_broken(self, results: Sequence[ItemResult]) -> bool:
        """Return whether the mean over the first items exceeds a limit by two standard errors.

        At least two items must have an answer, because a single item has no standard error.
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
        """Return limit → the relative amount by which it is exceeded; 0 or less if it is met.

        A limit counts as met if the amount is unknown.
        """
        return {
            name: amounts[name] / limit - 1 if name in amounts else 0.0
            for name, limit in self.given.items()
        }
