"""``archon view``: a run, or several beside each other, as one HTML page."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from pathlib import Path

import click

from archon.cli.console import console, emit
from archon.cli.options import command

_PAGE, _COMPARISON = "view.html", "compare.html"


@command
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--output",
    metavar="FILE",
    help=f"By default {_PAGE} in the run's folder, {_COMPARISON} here for several runs.",
)
@click.option("--open", "open_page", is_flag=True, help="Show the page in the browser.")
def view(runs: Sequence[str], output: str | None, open_page: bool, as_json: bool) -> None:
    """Write the folder RUN of an evaluation as one HTML file that needs no network.

    Several runs stand on one page, with their paired differences.
    """
    from archon.evals.run import read_run
    from archon.evals.view.page import write_page
    from archon.evals.view.source import StoredRun

    data = [StoredRun(read_run(run)) for run in runs]
    default = Path(runs[0]) / _PAGE if len(runs) == 1 else Path(_COMPARISON)
    path = default if output is None else Path(output)
    page = write_page(data, path)
    if as_json:
        num_items = len(page.summary["items"])
        emit({"output": str(path), "runs": len(data), "num_items": num_items})
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    console().print(f"page: {path} ({size})", soft_wrap=True)
    if open_page:
        webbrowser.open(path.absolute().as_uri())
