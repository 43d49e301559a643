"""Tables of the runs, comparisons and studies in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archon.cli.console import ResultPrinter, counted, with_interval
from archon.evals.rounding import decimal

if TYPE_CHECKING:
    from archon.evals.collection.run_list import RunList

Row = Mapping[str, Any]


def run_list(folder: str) -> RunList:
    """Return the list of what is in a folder, without reading it yet."""
    from archon.evals.collection.run_list import RunList
    from archon.study.storage import DATABASE
    from archon.study.study_row import study_row

    return RunList(Path(folder), DATABASE, study_row)


def described(row: Row) -> dict[str, Any]:
    """Add the keys ``name`` and ``description``, which every list of ``archon ls`` has."""
    if row["state"] == "damaged":
        description = f"damaged: {row['reason']}"
    elif row["accuracy"] is None:
        description = "no report yet"
    else:
        accuracy = with_interval(row["accuracy"], row["accuracy_interval"])
        description = (
            f"{row['architecture']} on {row['benchmark']} ({row['split']}): accuracy {accuracy}, "
            f"{counted(row['num_items'], 'item')}"
        )
        if row["state"] != "finished":
            description += f", {state_text(row)}"
    return {"name": row["path"], "description": description, **row}


def described_study(row: Row) -> dict[str, Any]:
    """The same for the row of a study, whose ``name`` is its path; ``study`` is its name."""
    description = "study by archon search; open it with archon view"
    if row["space"] is not None:
        description = f"{row['space']} on {row['benchmark']}: {counted(row['num_trials'], 'trial')}"
        if row["accuracy"] is not None:
            accuracy = with_interval(row["accuracy"], row["accuracy_interval"])
            description += f", accuracy {accuracy} on {row['accuracy_split']}"
    return {**row, "name": row["path"], "study": row["name"], "description": description}


def state_text(row: Row) -> str:
    """Return the state of a run in words.

    >>> state_text({"state": "interrupted", "num_runs": 3, "num_asked": 50, "num_errors": 0})
    'interrupted, 3 of 50'
    """
    if row["state"] == "damaged":
        return "damaged"
    text = "being written" if row["state"] == "running" else str(row["state"])
    if row["num_runs"] < row["num_asked"]:
        text += f", {row['num_runs']} of {row['num_asked']}"
    if row["num_errors"]:
        text += f", {row['num_errors']} failed"
    return text


def models_text(models: Mapping[str, str | None] | None) -> str:
    """Return the distinct names of the models of a run.

    >>> models_text({"solver": "tiny", "judge": "tiny", "other": None})
    'tiny, custom'
    """
    return ", ".join(dict.fromkeys(name or "custom" for name in (models or {}).values()))


def print_collection(found: Mapping[str, Sequence[Row]]) -> None:
    """Print the tables of runs and studies, and the comparisons."""
    out = ResultPrinter()
    if not any(found.values()):
        out.line("no runs")
        return
    if found["runs"]:
        out.table(_run_table(found["runs"]))
    for row in found["runs"]:
        if row["state"] == "damaged":
            out.line(f"{row['path']}: {row['reason']}", "yellow")
    if found["comparisons"]:
        out.line("\ncomparisons:", "bold")
        for row in found["comparisons"]:
            out.line(f"{row['path']}: {counted(len(row['runs']), 'run')}")
    if found["studies"]:
        out.line("\nsearches:", "bold")
        out.table(_study_table(found["studies"]))


def _run_table(rows: Sequence[Row]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("run", "architecture", "models", "benchmark"):
        table.add_column(name, overflow="fold")
    table.add_column("items", justify="right")
    table.add_column("accuracy [95%]", no_wrap=True)
    table.add_column("cost", justify="right", no_wrap=True)
    table.add_column("date", no_wrap=True)
    table.add_column("state")
    for row in rows:
        if row["state"] == "damaged":
            table.add_row(row["path"], *[""] * 7, "damaged")
            continue
        table.add_row(
            row["path"],
            row["architecture"],
            models_text(row["models"]),
            f"{row['benchmark']} ({row['split']})",
            str(row["num_items"]) + (f" × {row['epochs']}" if row["epochs"] > 1 else ""),
            with_interval(row["accuracy"], row["accuracy_interval"]),
            _cost(row),
            _date(row),
            state_text(row),
        )
    return table


def _study_table(rows: Sequence[Row]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("study", "space", "benchmark"):
        table.add_column(name, overflow="fold")
    table.add_column("trials", justify="right")
    table.add_column("accuracy [95%]", no_wrap=True)
    table.add_column("cost", justify="right", no_wrap=True)
    table.add_column("date", no_wrap=True)
    table.add_column("state", overflow="fold")
    for row in rows:
        accuracy = with_interval(row["accuracy"], row["accuracy_interval"])
        if row["accuracy_split"]:
            accuracy += f" ({row['accuracy_split']})"
        state = row["state"] or ""
        table.add_row(
            row["path"],
            row["space"] or "",
            row["benchmark"] or "",
            str(row["num_trials"]),
            accuracy,
            _cost(row),
            _date(row),
            f"{state}: {row['reason']}".lstrip(": ") if row["reason"] else state,
        )
    return table


def _cost(row: Row) -> str:
    return "–" if row["cost_tokens"] is None else decimal(row["cost_tokens"])


def _date(row: Row) -> str:
    """Return the start of a run to the minute, in UTC as stored."""
    return str(row["start_time"] or "")[:16].replace("T", " ")
