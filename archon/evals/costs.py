"""The three costs of an answer: tokens, compute and seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Literal

from archon.evals.compute import compute_text
from archon.evals.records import Record
from archon.evals.rounding import decimal

Cost = Literal["tokens", "compute", "seconds"]
COSTS: Mapping[Cost, Callable[[Record], float | None]] = {
    "tokens": lambda record: record.cost_tokens,
    "compute": lambda record: record.compute,
    "seconds": lambda record: record.seconds,
}
"""Cost → its amount for one answer; None if it is unknown."""
COST_COLUMNS: Mapping[Cost, str] = {
    "tokens": "cost_tokens",
    "compute": "compute",
    "seconds": "seconds",
}
"""Cost → the column of a report with its mean per answer."""


def mean_cost(records: Sequence[Record], cost: Cost) -> float | None:
    """Return the mean cost per answer; None if it is unknown or there are no answers."""
    amounts = [COSTS[cost](record) for record in records if record.error is None]
    known = [amount for amount in amounts if amount is not None]
    return fmean(known) if known and len(known) == len(amounts) else None


def cost_text(amount: float | None, cost: Cost) -> str:
    """Return an amount with its unit.

    >>> cost_text(1200, "tokens"), cost_text(3.2e12, "compute"), cost_text(1.25, "seconds")
    ('1200 tokens', '3.2 TFLOP', '1.3 s')
    """
    if amount is None:
        return "–"
    if cost == "compute":
        return compute_text(amount)
    return f"{decimal(amount)} tokens" if cost == "tokens" else f"{decimal(amount, 1)} s"
