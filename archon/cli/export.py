"""``archon export``: export the records of a run, also in the formats of other tools."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archon.cli import completers
from archon.cli.console import ResultPrinter, counted, emit
from archon.cli.options import command, output_file, write_file
from archon.errors import UsageError

if TYPE_CHECKING:
    from archon.evals.run import Run


@command
@click.argument("run", shell_complete=completers.runs)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["jsonl", "csv", "inspect", "lm-eval"]),
    default="jsonl",
    show_default=True,
    help="Output format: records as JSON Lines or CSV, a log of Inspect, or results and samples of "
    "lm-eval.",
)
@click.option(
    "--traces",
    is_flag=True,
    help="Include every prompt and completion. Not available for CSV and lm-eval.",
)
@click.option(
    "--output",
    metavar="PATH",
    shell_complete=completers.files,
    help="File to write; by default standard output. For lm-eval, a folder; for inspect, a .json "
    "file or a folder, in which the log gets a name that 'inspect view' finds.",
)
def export(run: str, file_format: str, traces: bool, output: str | None, as_json: bool) -> None:
    """Export the records of a run as JSONL or CSV, or for Inspect or lm-eval.

    RUN is the folder of a run. The records have one line per answer, sorted by item and epoch. With
    --json, they are one JSON object: {"version": 1, "records": [...]}.
    """
    from archon.evals.run import read_run

    if as_json and (output or file_format != "jsonl"):
        raise UsageError(f"--json cannot be combined with --format {file_format} or --output")
    if traces and file_format in ("csv", "lm-eval"):
        name = {"csv": "CSV"}.get(file_format, file_format)
        raise UsageError(f"--traces is not available for {name}; use --format jsonl or inspect")
    if file_format == "lm-eval":
        _export_lm_eval(read_run(run), output)
    elif file_format == "inspect":
        _export_inspect(read_run(run), output, traces)
    else:
        _export_records(run, file_format, output, traces, as_json)


def _export_records(
    run: str, file_format: str, output: str | None, traces: bool, as_json: bool
) -> None:
    from archon.evals.export import csv_lines, json_lines, json_row
    from archon.evals.run import read_run

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


def _export_inspect(run: Run, output: str | None, traces: bool) -> None:
    from archon.evals.inspect_log import inspect_log, log_name

    lines = inspect_log(run, traces=traces)
    if output is None:
        sys.stdout.writelines(lines)
        return
    if Path(output).suffix == ".eval":
        raise UsageError(f"the log is JSON; choose a name with .json instead of {output}")
    if Path(output).suffix == ".json":
        _write(output, lines)
    else:
        _write(_in_folder(output, log_name(run)), lines)


def _export_lm_eval(run: Run, output: str | None) -> None:
    from archon.evals.lm_eval_log import file_names, results_json, samples_jsonl

    if output is None:
        raise UsageError("lm-eval has two files, results and samples; name a folder with --output")
    names = file_names(run)
    _write(_in_folder(output, names.samples), samples_jsonl(run))
    _write(_in_folder(output, names.results), [results_json(run)])


def _in_folder(folder: str, name: str) -> str:
    """Return the path of a file in a folder, which is made if it does not exist."""
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} is not a folder for the files: {error.strerror}") from None
    return str(path / name)


def _write(path: str, lines: Iterable[str]) -> None:
    file = output_file(path)
    assert file is not None
    write_file(file, lines)
    ResultPrinter().line(str(file))
