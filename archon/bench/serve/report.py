"""A measurement as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from archon.bench.serve.figures import FIRST_TOKEN_GOAL, GOALS

_NAMES = {"engine": "engine alone", "whole": "served", "streamed": "served, streamed"}


def tables(result: Mapping[str, Any]) -> list[RenderableType]:
    """What people see of ``archon bench serve``."""
    return [_loads(result["loads"]), _first_tokens(result["first_token"])]


def _loads(loads: Mapping[str, Any]) -> Table:
    table = _table("", "requests", "failed", "tokens/s", "ratio", "deducted", "goal", "CPU/token")
    for name, row in loads.items():
        table.add_row(
            _NAMES[name],
            f"{row['requests']:,}",
            str(row["failures"]),
            _number(row["completion_tokens_per_second"], ",.0f"),
            _number(row["ratio"], ".3f"),
            _number(row["ratio_deducted"], ".3f"),
            f"≥ {GOALS[name]}" if name in GOALS else "",
            f"× {_number(row['cpu_ratio'], '.3f')}",
        )
    return table


def _first_tokens(first: Mapping[str, Any]) -> Table:
    table = _table("ms to the first token", "engine", "served", "ratio", "goal")
    for who, quantiles in first.items():
        for name, row in quantiles.items():
            own, served = row["engine_seconds"], row["served_seconds"]
            table.add_row(
                f"{'one client' if who == 'alone' else 'all clients'}, {name}",
                _number(None if own is None else 1000 * own, ",.1f"),
                _number(None if served is None else 1000 * served, ",.1f"),
                _number(row["ratio"], ".2f"),
                f"≤ {FIRST_TOKEN_GOAL}" if (who, name) == ("alone", "p50") else "",
            )
    return table


def _table(first: str, *columns: str) -> Table:
    table = Table(box=None)
    table.add_column(first)
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
