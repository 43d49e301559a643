"""The data of a scaling plot: one curve for each architecture and each plain vote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archon.evals.run import Run
from archon.evals.scaling.power_law import PowerLaw, fit
from archon.evals.scaling.sample_curve import CurvePoint, SampleCurve
from archon.evals.scaling.scaled_specs import PooledVote

CSV_COLUMNS = (
    "curve",
    "k",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "tokens",
    "seconds",
    "pass",
    "pass_low",
    "pass_high",
    "is_extrapolated",
)


@dataclass(frozen=True)
class PlannedCurve:
    """A curve and the runs that it needs."""

    name: str
    vote: PooledVote | None
    """How the architecture votes. If None, each number of samples has a run."""
    runs: Mapping[int, Run]
    """Number of samples → its run. A pooled vote has only one run, with the largest number."""


@dataclass
class Curve:
    """One curve of the plot."""

    name: str
    is_averaged: bool
    """True if each point is a mean over subsets of the samples of one run. Otherwise each point is
    a separate run, on the first k samples."""
    points: list[CurvePoint]
    runs: list[str]
    law: PowerLaw | None = None
    why_no_law: str | None = None
    warnings: list[str] = field(default_factory=list)

    def to_json(self, tokens_per_second: float | None) -> dict[str, Any]:
        """Return the curve as plain data; ``seconds`` follow from the measured speed."""
        return {
            "name": self.name,
            "is_averaged": self.is_averaged,
            "points": [
                {
                    "k": point.k,
                    "accuracy": point.accuracy,
                    "accuracy_interval": point.interval,
                    "tokens": point.tokens,
                    "seconds": _seconds(point, tokens_per_second),
                    "pass": point.passed,
                    "pass_interval": point.passed_interval,
                }
                for point in self.points
            ],
            "power_law": None if self.law is None else self.law.to_json(),
            "why_no_power_law": self.why_no_law,
            "warnings": self.warnings,
            "runs": self.runs,
        }


def scaling_data(
    plans: Sequence[PlannedCurve], ks: Sequence[int], headings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the data of the plot as plain data.

    Parameters
    ----------
    ks
        The numbers of samples, sorted.
    headings
        What all curves share: benchmark, split and seed.

    Returns
    -------
    ``curves``, the ``headings``, ``samples`` (= ``ks``) and ``tokens_per_second``: the speed at
    which all runs together generated tokens. The time per answer (``seconds``) is the number of its
    completion tokens divided by this speed. It is the time on a machine that always has many
    questions to work on, not the time that one user waits.
    """
    curves = [_curve(plan, ks) for plan in plans]
    reports = [run.report() for plan in plans for run in plan.runs.values()]
    generated = sum(report.usage.generated_tokens for report in reports)
    seconds = sum(report.wall_seconds for report in reports)
    speed = generated / seconds if generated and seconds else None
    return {
        **headings,
        "samples": list(ks),
        "tokens_per_second": speed,
        "curves": [curve.to_json(speed) for curve in curves],
    }


def _curve(plan: PlannedCurve, ks: Sequence[int]) -> Curve:
    paths = [str(run.path) for run in plan.runs.values()]
    if plan.vote is None:
        points = [_point(k, run) for k, run in sorted(plan.runs.items())]
        why = "pass@k is known only for votes over samples"
        return Curve(plan.name, False, [p for p in points if p is not None], paths, None, why)
    (run,) = plan.runs.values()
    found = SampleCurve(plan.vote.generators, ks).add(run.records())
    curve = Curve(plan.name, True, found.points, paths)
    missing = [k for k in ks if k not in {point.k for point in found.points}]
    if missing:
        curve.warnings.append(
            f"some answers have fewer than {missing[0]} samples, because samples failed or the "
            "budget ran out; larger numbers are left out"
        )
    law = fit([point.k for point in found.points], found.item_passes)
    if isinstance(law, PowerLaw):
        curve.law = law
    else:
        curve.why_no_law = law
    return curve


def _point(k: int, run: Run) -> CurvePoint | None:
    """Return the point of a run with k samples; None if it has no answers."""
    report = run.report()
    if report.accuracy is None or report.accuracy_interval is None:
        return None
    num_answers = report.num_runs - report.num_errors
    tokens = report.usage.completion_tokens / num_answers if num_answers else None
    return CurvePoint(k, report.accuracy, report.accuracy_interval, report.cost_tokens, tokens)


def _seconds(point: CurvePoint, tokens_per_second: float | None) -> float | None:
    if point.completion_tokens is None or not tokens_per_second:
        return None
    return point.completion_tokens / tokens_per_second


def csv_rows(data: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row for each point and for each extrapolated pass@k (``CSV_COLUMNS``)."""
    for curve in data["curves"]:
        for point in curve["points"]:
            yield {
                "curve": curve["name"],
                "is_extrapolated": 0,
                **{key: point[key] for key in ("k", "accuracy", "tokens", "seconds", "pass")},
                **_ends("accuracy", point["accuracy_interval"]),
                **_ends("pass", point["pass_interval"]),
            }
        for point in (curve["power_law"] or {}).get("extrapolated", ()):
            yield {
                "curve": curve["name"],
                "is_extrapolated": 1,
                "k": point["k"],
                "pass": point["passed"],
                **_ends("pass", point["interval"]),
            }


def _ends(name: str, interval: Sequence[float] | None) -> dict[str, float]:
    return (
        {}
        if interval is None
        else dict(zip((f"{name}_low", f"{name}_high"), interval, strict=True))
    )
