"""Lines of the final report that several kinds of training share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from archon.evals.rounding import percent as rounded_percent

Line = tuple[str, str | None]
"""A line and its style: ``bold``, ``dim``, ``yellow`` (warnings) or None."""


def headline(record: Mapping[str, Any], learned_from: str) -> Line:
    """Return a line with the number of parameters, the data and the duration."""
    return (
        f"{record['trained_parameters']:,} of {record['parameters']:,} parameters trained on "
        f"{learned_from}, {record['train_seconds']:.0f} s",
        "bold",
    )


def left_out(record: Mapping[str, Any], what: str = "texts") -> Iterator[Line]:
    """Yield a warning if data was excluded because it is too long."""
    if record.get("too_long"):
        yield f"{record['too_long']:,} {what} are too long and were excluded", "yellow"


def held_out_loss(record: Mapping[str, Any]) -> Iterator[Line]:
    """Yield the held-out loss before and after training, if it was measured."""
    before, after = record["before"], record["after"]
    if after:
        losses = f"{before['held_out_loss']:.3f} → {after['held_out_loss']:.3f}"
        yield f"held-out loss {losses}", None


def samples(record: Mapping[str, Any]) -> Iterator[Line]:
    """Yield held-out prompts, each with the model's reply before and after training."""
    before, after = record["before"], record["after"]
    for old, new in zip(before.get("samples", ()), after.get("samples", ()), strict=True):
        yield f"\n{new['shown']}", "dim"
        yield f"before: {old['said']}\nafter:  {new['said']}", None


def percent(share: float) -> str:
    """Format a share in [0, 1] as a percentage."""
    return f"{rounded_percent(share)}%"
