"""Whether there are enough items to tell, and how many there would have to be.

Normal approximations, as they are usual for planning: J. Cohen, Statistical Power Analysis (1988).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, pvariance

from archon.evals.rounding import percent
from archon.evals.statistics import (
    CONFIDENCE,
    Interval,
    effective_trials,
    wilson_interval,
    with_two_added,
)

POWER = 0.8
WIDE = 0.10
"""Half the width of an interval of accuracy from which on there is a warning."""
WANTED = 0.05
"""Half the width that the warning plans for."""

_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_Z_POWER = NormalDist().inv_cdf(POWER)
_DUST = 1e-12
"""What sums of fractions may be off by."""


@dataclass(frozen=True, slots=True)
class PairPower:
    """What the items of a paired comparison can tell."""

    detectable_difference: float
    """The difference that they would have shown with a chance of 80 %; 1 at most."""
    items_needed: int | None
    """The items that would show the observed difference with this chance; None where it is 0."""


def pair_power(differences: Sequence[float]) -> PairPower:
    """What so many items can tell, their differences varying as these do.

    The variance is that behind ``paired_interval``, so that items that never differed do not
    promise certainty.
    """
    spread = (_Z + _Z_POWER) * math.sqrt(pvariance(with_two_added(differences)))
    difference = fmean(differences)
    needed = math.ceil((spread / difference) ** 2) if abs(difference) > _DUST else None
    return PairPower(min(1.0, spread / math.sqrt(len(differences))), needed)


def pair_warning(
    a: str, b: str, differences: Sequence[float], interval: Interval, power: PairPower
) -> str | None:
    """A sentence where the items do not tell ``a`` and ``b`` apart: their interval holds 0."""
    low, high = interval
    if low > _DUST or high < -_DUST:
        return None
    warning = (
        f"{a} and {b}: {len(differences):,} items cannot tell which is better; they tell "
        f"{percent(power.detectable_difference)} points with 80 % power"
    )
    if power.items_needed is None:
        return warning
    seen = percent(abs(fmean(differences)))
    return f"{warning}, and about {_about(power.items_needed):,} items would tell the {seen} seen"


def accuracy_warning(item_means: Sequence[float], runs: int) -> str | None:
    """A sentence where the interval of the mean is wider than ±10 points.

    The parameters are those of ``mean_interval``. The items that would make it ±5 are planned for
    an accuracy in the middle of the interval, each item being run as often as now.
    """
    trials = effective_trials(item_means, runs)
    low, high = wilson_interval(fmean(item_means), trials)
    if high - low <= 2 * WIDE:
        return None
    middle = (low + high) / 2
    needed = middle * (1 - middle) * (_Z / WANTED) ** 2 * len(item_means) / trials
    half = percent((high - low) / 2, 0)
    return (
        f"{len(item_means):,} items leave the accuracy open by ±{half} points; "
        f"about {_about(needed):,} would leave ±{percent(WANTED, 0)}"
    )


def _about(number: float) -> int:
    """Rounded up to two digits.

    >>> _about(1234), _about(96)
    (1300, 96)
    """
    unit = int(10 ** max(0, math.floor(math.log10(number)) - 1))
    return math.ceil(number / unit) * unit
