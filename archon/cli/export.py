"""``archon export``: export the records of a run as JSONL or CSV."""

from __future__ import annotations

import sys

import click

from archon.cli.console import ResultPrinter, counted, emit
from archon.cli.options import command, output_file, write_file
from archon.errors import UsageError


@command
@click.argument("run")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    show_default=True,
    help="Output format.",
)
@click.option(
    "--traces", is_flag=True, help="Include every prompt and completion. Not available for CSV."
)
@click.option("--output", metavar="FILE", help="File to write; by default standard output.")
def export(run: str, file_format: str, traces: bool, output: str | None, as_json: bool) -> None:
    """Export the records of a run as JSONL or CSV.

    RUN is the folder of a run. The output has one line per answer, sorted by item and epoch. With
    --json, it is one JSON object: {"version": 1, "records": [...]}.
    """
    from archon.evals.export import csv_lines, json_lines, json_row
    from archon.evals.run import read_run

    if as_json and (output or file_format != "jsonl"):
        raise UsageError("--json cannot be combined with --format csv or --output")
    if traces and file_format == "csv":
        raise UsageError("--traces is not available for CSV; use --format jsonl")
    file = output_file(output)
    entries = read_run(run).sorted_entries()
    if as_json:
        rows = [json_row(entry, traces=traces) for entry in entries]
        emit({"version": 1, "records": rows})
        return
    lines = (
        csv_lines(entry.record for entry in entries)
        if file_format == "csv"
        else json_lines(entries, traces=traces)
    )
    if file is None:
        sys.stdout.writelines(lines)
        return
    write_file(file, lines)
    ResultPrinter().line(f"{counted(len(entries), 'record')}: {file}")
