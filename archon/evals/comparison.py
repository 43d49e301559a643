"""Compare several runs: their accuracy and cost, and a statistical test for every pair."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from archon.errors import UsageError
from archon.evals.power import pair_power, pair_warning
from archon.evals.records import Record
from archon.evals.report import Tally
from archon.evals.single_calls import single_calls
from archon.evals.statistics import holm, paired_interval, paired_p_value

NamedTally = tuple[str, Tally]
FRONTS = {
    "cost_tokens": "on_cost_front",
    "compute": "on_compute_front",
    "seconds": "on_seconds_front",
}
"""Report column → row key whose value is true for runs on the Pareto front of this column and
accuracy."""


def compare(
    reports: Sequence[Mapping[str, Any]], records: Sequence[Iterable[Record]]
) -> dict[str, Any]:
    """Compare several runs. Each pair is compared on the items that both runs contain.

    Parameters
    ----------
    reports
        The reports of the runs, as plain data.
    records
        The records of the runs, in the same order.

    Returns
    -------
    rows
        A row for each run: the columns of its report, its ``name`` (the architecture's name, with a
        number if the architecture has several runs), and ``seconds`` (as in ``Report``).
        ``on_cost_front``, ``on_compute_front`` and ``on_seconds_front`` are true if no other run is
        at least as good in both accuracy and cost (or compute, or time) and better in one of them.
    pairs
        A row for each pair of runs: their names ``a`` and ``b``, and the number ``num_items`` of
        common items. ``difference`` is the accuracy of a minus the accuracy of b on these items. It
        has a 95% ``interval``, the ``p_value`` of a paired test, and ``p_value_adjusted``, which is
        adjusted over all pairs by Holm's method. ``detectable_difference`` and ``items_needed`` are
        explained in ``PairPower``. ``mean_score_difference``, ``mean_score_interval`` and
        ``mean_score_p_value`` compare the scores; they equal the figures for accuracy if every
        score is 0 or 1.
    single_calls
        A row for each run of several calls, which compares it with one call of another model
        (``archon.evals.single_calls``).
    warnings
        A sentence for each pair for which the items do not show which run is better.

    Raises
    ------
    UsageError
        Two runs have no item in common.
    MissingExtraError
        Scipy is not installed.
    """
    runs_of_records = [list(run) for run in records]
    tallies = [Tally.of(run) for run in runs_of_records]
    names = _distinct([str(report["architecture"]) for report in reports])
    runs = list(zip(names, tallies, strict=True))
    pairs, warnings = [], []
    for a, b in itertools.combinations(runs, 2):
        pair, warning = _pair(a, b)
        pairs.append(pair)
        warnings += [warning] if warning else []
    adjusted = holm([pair["p_value"] for pair in pairs])
    for pair, p_value in zip(pairs, adjusted, strict=True):
        pair["p_value_adjusted"] = p_value
    return {
        "rows": _rows(reports, runs),
        "pairs": pairs,
        "single_calls": single_calls(names, runs_of_records),
        "warnings": warnings,
    }


def _rows(reports: Sequence[Mapping[str, Any]], runs: Sequence[NamedTally]) -> list[dict[str, Any]]:
    accuracies = [tally.accuracy for _, tally in runs]
    fronts = {
        key: _on_front(accuracies, [tally.value(column) for _, tally in runs])
        for column, key in FRONTS.items()
    }
    return [
        {
            **report,
            "name": name,
            "seconds": tally.mean_seconds,
            **{key: front[i] for key, front in fronts.items()},
        }
        for i, (report, (name, tally)) in enumerate(zip(reports, runs, strict=True))
    ]


def _on_front(accuracies: Sequence[float | None], prices: Sequence[float | None]) -> list[bool]:
    """Return for each run whether it is on the Pareto front of accuracy and price.

    A run without an accuracy or price is never on the front. ``prices`` contains the cost or the
    time of each run.
    """
    points = list(zip(accuracies, prices, strict=True))

    def dominates(other: tuple[float | None, float | None], accuracy: float, price: float) -> bool:
        if other[0] is None or other[1] is None:
            return False
        return other[0] >= accuracy and other[1] <= price and other != (accuracy, price)

    return [
        accuracy is not None
        and price is not None
        and not any(dominates(other, accuracy, price) for other in points)
        for accuracy, price in points
    ]


def _pair(run_a: NamedTally, run_b: NamedTally) -> tuple[dict[str, Any], str | None]:
    """Compare two runs; return the pair's row, and a warning if neither is shown to be better."""
    (name_a, a), (name_b, b) = run_a, run_b
    means_a, means_b = a.item_means, b.item_means
    shared = [item for item in means_a if item in means_b]
    if not shared:
        raise UsageError(
            f"the runs of {name_a} and {name_b} have no item in common; compare runs of the same "
            "benchmark and split"
        )
    differences = [means_a[item] - means_b[item] for item in shared]
    interval = paired_interval(differences)
    power = pair_power(differences)
    pair: dict[str, Any] = {
        "a": name_a,
        "b": name_b,
        "num_items": len(shared),
        "difference": fmean(differences),
        "interval": interval,
        "p_value": paired_p_value(differences),
        **asdict(power),
    }
    partial = differences
    if a.has_partial_scores or b.has_partial_scores:
        scores_a, scores_b = a.item_scores, b.item_scores
        partial = [scores_a[item] - scores_b[item] for item in shared]
    is_same = partial == differences
    pair |= {
        "mean_score_difference": fmean(partial),
        "mean_score_interval": interval if is_same else paired_interval(partial),
        "mean_score_p_value": pair["p_value"] if is_same else paired_p_value(partial),
    }
    return pair, pair_warning(name_a, name_b, differences, interval, power)


def _distinct(names: Sequence[str]) -> list[str]:
    seen: Counter[str] = Counter()
    distinct = []
    for name in names:
        seen[name] += 1
        distinct.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return distinct
