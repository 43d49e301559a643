"""``archon rm``: delete runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from archon.cli import completers
from archon.cli.console import ResultPrinter, counted, emit, megabytes, print_line
from archon.cli.exits import FAILED
from archon.cli.options import command
from archon.errors import UsageError


@command
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", shell_complete=completers.runs)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def rm(runs: Sequence[str], yes: bool, as_json: bool) -> int:
    """Delete the folders of runs.

    RUN is the folder of a run, or the folder of a comparison, whose runs are all deleted. A folder
    that contains other files or is being written is refused. Stored samples are kept; `archon cache
    clear` deletes them.
    """
    from archon.evals.collection.find_runs import runs_of_comparison
    from archon.evals.collection.remove_run import removable_run
    from archon.evals.folder import RunFolder

    given = [Path(run) for run in dict.fromkeys(runs)]
    groups = [path for path in given if not RunFolder(path).holds_run]
    paths = [run for path in given for run in runs_of_comparison(path) or [path]]
    found = [removable_run(path) for path in dict.fromkeys(paths)]
    num_bytes = sum(run.num_bytes for run in found)
    if not yes and not _confirmed([str(run.path) for run in found], num_bytes):
        return FAILED
    for run in found:
        run.remove()
    for path in groups:
        _remove_group(path)
    removed = [str(run.path) for run in found]
    if as_json:
        emit({"removed": removed, "freed_bytes": num_bytes})
    text = f"deleted {counted(len(removed), 'run')}, {megabytes(num_bytes)}"
    ResultPrinter(as_json).line(text)
    return 0


def _remove_group(path: Path) -> None:
    """Delete the folder of a comparison without runs, unless the user has put files into it."""
    from archon.storage.atomic import names_in

    if names_in(path) <= {"view.html"}:
        (path / "view.html").unlink(missing_ok=True)
        path.rmdir()


def _confirmed(paths: Sequence[str], num_bytes: int) -> bool:
    """Ask whether to delete these runs.

    Raises
    ------
    UsageError
        There is no terminal to ask at.
    """
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal for a confirmation; add --yes to delete the runs")
    for path in paths:
        print_line(path)
    question = f"delete {counted(len(paths), 'run')} ({megabytes(num_bytes)})?"
    return click.confirm(question, err=True)
