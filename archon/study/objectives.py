"""Objectives of a search, and limits on the cost of an answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from archon.errors import UsageError
from archon.spec.messages import suggestion

OBJECTIVES: Mapping[str, bool] = {
    "accuracy": True,
    "tokens": False,
    "compute": False,
    "seconds": False,
}
"""Objective → True if higher values are better. All but the accuracy are means per answer; compute
is in FLOPs (``archon.lm.compute``)."""
COSTS = tuple(name for name, is_higher_better in OBJECTIVES.items() if not is_higher_better)

IN_SPACE = "space"
"""Name of the Optuna constraint that a configuration violates if the space rejects it."""


@dataclass(frozen=True, slots=True)
class ItemResult:
    """The result of one item in a trial."""

    accuracy: float
    tokens: float
    """Cost of the answer in tokens."""
    seconds: float
    failed: bool = False
    compute: float | None = None
    """Compute of the answer in FLOPs; None if it is unknown."""


def parse_objectives(text: str) -> tuple[str, ...]:
    """Parse objectives such as ``accuracy,tokens``.

    Raises
    ------
    UsageError
        An objective is unknown or appears twice.
    """
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in OBJECTIVES:
            raise UsageError(f"unknown objective {name!r}{suggestion(name, OBJECTIVES)}")
        if names.count(name) > 1:
            raise UsageError(f"the objective {name!r} appears twice in {text!r}")
    return names


def means(results: Sequence[ItemResult]) -> dict[str, float]:
    """Return the mean of each objective: accuracy over all items, cost over answered items.

    There is no mean of the compute if that of an answer is unknown.
    """
    answered = [result for result in results if not result.failed] or results
    compute = [result.compute for result in answered if result.compute is not None]
    is_known = len(compute) == len(answered)
    return {
        "accuracy": fmean(result.accuracy for result in results),
        "tokens": fmean(result.tokens for result in answered),
        "seconds": fmean(result.seconds for result in answered),
    } | ({"compute": fmean(compute)} if is_known else {})


def losses(values: Mapping[str, float], names: Sequence[str]) -> tuple[float, ...]:
    """Return the named values, negated if higher is better, so that lower is always better."""
    return tuple(-values[name] if OBJECTIVES[name] else values[name] for name in names)


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """Upper bounds on the mean cost per answer; None means no limit."""

    tokens: float | None = None
    calls: float | None = None
    seconds: float | None = None
    compute: float | None = None

    def __post_init__(self) -> None:
        for name, limit in self.given.items():
            if limit <= 0:
                raise UsageError(f"the limit for {name} must be above 0, not {limit:g}")

    @property
    def given(self) -> dict[str, float]:
        """The limits that are set, by name."""
        limits = {name: getattr(self, name) for name in ("tokens", "calls", "seconds", "compute")}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def is_surely_broken(self, sums: Mapping[str, float], num_items: int) -> bool:
        """Return whether the mean over all items will exceed a limit even at no further cost.

        Parameters
        ----------
        sums
            ``tokens``, ``seconds`` and, if known, ``compute``, summed over the answers so far.
        """
        return any(
            sums[name] > limit * num_items for name, limit in self.given.items() if name in sums
        )

    def is_likely_broken(self, results: Sequence[ItemResult]) -> bool:
        """Return whether the mean over the first items exceeds a limit by two standard errors.

        False with fewer than two answered items, because one has no standard error.
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
        """Return by how much each limit is exceeded, as a share of the limit.

        For example, 1,500 tokens with a limit of 1,000 give 0.5. A value of 0 or less is within the
        limit; it is 0 if the amount is unknown.
        """
        return {
            name: amounts[name] / limit - 1 if name in amounts else 0.0
            for name, limit in self.given.items()
        }
