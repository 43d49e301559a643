"""``archon export``: the records of a run for other programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import click

from archon.cli.console import console, emit
from archon.cli.options import command, output_file
from archon.errors import StorageError, UsageError, os_reason


@command
@click.argument("run")
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True
)
@click.option("--traces", is_flag=True, help="With every prompt and completion (JSON only).")
@click.option("--output", metavar="FILE", help="Write a file instead of standard output.")
def export(run: str, form: str, traces: bool, output: str | None, as_json: bool) -> None:
    """Write the records of a RUN, one line for each answer, sorted by item and epoch.

    With --json they come as one object, {"version": 1, "records": [...]}.
    """
    from archon.evals.export import csv_lines, json_lines, json_row
    from archon.evals.run import read_run

    if as_json and (output or form != "jsonl"):
        raise UsageError("--json prints one object; it goes with neither --format csv nor --output")
    if traces and form == "csv":
        raise UsageError("traces do not fit into CSV; export them as jsonl")
    file = output_file(output)
    entries = read_run(run).sorted_entries()
    if as_json:
        rows = [json_row(entry, traces=traces) for entry in entries]
        emit({"version": 1, "records": rows})
        return
    lines = (
        csv_lines(entry.record for entry in entries)
        if form == "csv"
        else json_lines(entries, traces=traces)
    )
    if file is None:
        sys.stdout.writelines(lines)
        return
    _write(file, lines)
    console().print(f"{len(entries)} records: {file}", soft_wrap=True)


def _write(path: Path, lines: Iterable[str]) -> None:
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(lines)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {os_reason(error)}") from None
