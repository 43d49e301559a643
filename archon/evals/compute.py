"""The compute of a run's answers, by model, and how it is written in tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from archon.evals.records import Record
from archon.evals.rounding import decimal
from archon.lm.compute import ModelUsage, total_compute

_UNITS = ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP", "ZFLOP")


@dataclass
class ComputeTally:
    """Running totals of the compute of answers."""

    total: int | None = 0
    """Compute of all answers in FLOPs; None if that of an answer is unknown."""
    _by_model: dict[str, ModelUsage] = field(default_factory=dict)
    _is_complete: bool = True

    def add(self, record: Record) -> None:
        """Add a record; failures have no known compute and are left out, as they are of costs."""
        if record.error is not None:
            return
        self.total = total_compute([self.total, record.compute])
        self._is_complete &= bool(record.usage_by_model)
        for name, usage in record.usage_by_model.items():
            self._by_model[name] = self._by_model.get(name, ModelUsage()) + usage

    @property
    def by_model(self) -> dict[str, ModelUsage]:
        """Name of each model → its usage for all answers; empty if that of an answer is unknown."""
        return dict(self._by_model) if self._is_complete else {}


def compute_text(flops: float | None) -> str:
    """Return a compute in a fitting unit, with two significant digits or more.

    >>> compute_text(3.21e12), compute_text(812_000), compute_text(45.6e9), compute_text(None)
    ('3.2 TFLOP', '812 kFLOP', '46 GFLOP', '–')
    """
    if flops is None:
        return "–"
    power = 0
    while abs(flops) >= 999.5 and power < len(_UNITS) - 1:
        flops, power = flops / 1000, power + 1
    return f"{decimal(flops, 1 if abs(flops) < 9.95 and power else 0)} {_UNITS[power]}"


def compute_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line on the compute per answer, by model, or on what is missing to know it."""
    models = report.get("usage_by_model") or {}
    num_answers = report["num_runs"] - report["num_errors"]
    if not models or not num_answers:
        return
    unknown = [name for name, usage in models.items() if usage["compute"] is None]
    if unknown:
        yield unknown_text(unknown)
        return
    text = f"compute {compute_text(report['compute'])} per answer"
    if len(models) > 1:
        parts = [
            f"{name} {compute_text(usage['compute'] / num_answers)}"
            for name, usage in models.items()
        ]
        text += f" ({', '.join(parts)})"
    estimates = [name for name, usage in models.items() if usage["is_estimate"]]
    if estimates:
        text += f", an estimate: not all sizes of {' and '.join(estimates)} are known"
    yield text


def unknown_text(models: list[str]) -> str:
    """Return a sentence that names the models of unknown size, and the cure."""
    return (
        f"compute unknown: the number of parameters of {' and '.join(models)} is not known; add "
        '"parameters": {"total": N, "active": N} to the model card'
    )
