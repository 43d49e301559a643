"""Compare each run with one call of another model that costs about as much compute.

More samples of a small model and fewer of a larger one compete for the same compute. Runs that
make one call per answer show what a model gives without an architecture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from archon.evals.compute import compute_text
from archon.evals.costs import mean_cost
from archon.evals.records import Record
from archon.evals.statistics import paired_interval, paired_p_value


@dataclass(frozen=True)
class _Run:
    name: str
    records: Sequence[Record]
    compute: float
    """Mean compute per answer in FLOPs."""
    models: frozenset[str]

    @classmethod
    def of(cls, name: str, records: Sequence[Record]) -> _Run | None:
        """Return the run; None if its compute is unknown."""
        compute = mean_cost(records, "compute")
        if not compute:
            return None
        models = frozenset(name for record in records for name in record.usage_by_model)
        return cls(name, records, compute, models)

    @property
    def is_single_call(self) -> bool:
        """True if every answer is one completion."""
        return all(
            record.usage.calls == 1 and not record.usage.choice_tokens
            for record in self.records
            if record.error is None
        )

    @property
    def item_means(self) -> dict[str, float]:
        scores: dict[str, list[bool]] = {}
        for record in self.records:
            scores.setdefault(record.item, []).append(record.is_right)
        return {item: fmean(right) for item, right in scores.items()}

    @property
    def tokens_per_call(self) -> float:
        """Mean tokens of a call, prompt and completion."""
        usages = [record.usage for record in self.records if record.error is None]
        calls = sum(usage.calls for usage in usages)
        tokens = sum(usage.prompt_tokens + usage.completion_tokens for usage in usages)
        return tokens / calls if calls else 0.0


def single_calls(names: Sequence[str], records: Sequence[Sequence[Record]]) -> list[dict[str, Any]]:
    """Compare each run of several calls with one call of another model.

    Of the runs with one call per answer and other models, the one whose compute is closest in
    ratio is used. Runs of unknown compute are left out.

    Returns
    -------
    A row for each run of several calls: its ``name`` and ``compute``, and ``single``, the name of
    the run of single calls, with its ``model`` and ``single_compute``. ``calls`` is the number of
    such calls that cost as much as one answer of the run. ``difference`` is the run's accuracy
    minus that of the single call on the items of both, with its ``interval`` and ``p_value``;
    ``better`` is the name of the run that is shown to be better, or None. Without a run to compare
    with, all of these are None. ``parameters`` is the number of active parameters of a model whose
    single call would cost as much.
    """
    runs = [_Run.of(name, own) for name, own in zip(names, records, strict=True)]
    known = [run for run in runs if run is not None]
    singles = [run for run in known if run.is_single_call]
    return [_row(run, singles) for run in known if not run.is_single_call]


def _row(run: _Run, singles: Sequence[_Run]) -> dict[str, Any]:
    others = [single for single in singles if not single.models <= run.models]
    means = run.item_means
    others = [single for single in others if means.keys() & single.item_means.keys()]
    tokens = run.tokens_per_call
    row: dict[str, Any] = {
        "name": run.name,
        "compute": run.compute,
        "parameters": run.compute / (2 * tokens) if tokens else None,
    }
    compared = ("single", "model", "single_compute", "calls", "num_items", "difference")
    row |= dict.fromkeys((*compared, "interval", "p_value", "better"))
    if not others:
        return row
    single = min(others, key=lambda other: abs(math.log(run.compute / other.compute)))
    reference = single.item_means
    differences = [means[item] - reference[item] for item in means if item in reference]
    difference, interval = fmean(differences), paired_interval(differences)
    better = None
    if interval is not None and (interval[0] > 0 or interval[1] < 0):
        better = run.name if difference > 0 else single.name
    return row | {
        "single": single.name,
        "model": " and ".join(sorted(single.models)),
        "single_compute": single.compute,
        "calls": run.compute / single.compute,
        "num_items": len(differences),
        "difference": difference,
        "interval": interval,
        "p_value": paired_p_value(differences),
        "better": better,
    }


def single_call_text(row: Mapping[str, Any], difference: str) -> str:
    """Return a sentence on a row of ``single_calls``.

    Parameters
    ----------
    difference
        The difference with its interval, as text.
    """
    name, cost = row["name"], compute_text(row["compute"])
    if row["single"] is None:
        size = row["parameters"]
        unit = "B" if size >= 1e9 else "M"
        shown = f"{size / (1e9 if unit == 'B' else 1e6):.2g}{unit}"
        return (
            f"{name} ({cost} per answer) costs as much compute as one call of a model of about "
            f"{shown} active parameters; to see which is better, evaluate `single` with such a "
            "model on the same items, and compare the runs"
        )
    verdict = "neither is shown to be better"
    if row["better"] is not None:
        verdict = f"{row['better']} is better"
    return (
        f"{name} ({cost} per answer) costs {row['calls']:.2g} times the compute of a single call "
        f"of {row['model']} ({row['single']}, {compute_text(row['single_compute'])}): "
        f"{difference} points, {verdict}"
    )
