"""``archon view``: a run, several beside each other, or a study, as one HTML page."""

from __future__ import annotations

import logging
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from archon.cli.console import console, emit
from archon.cli.options import command, output_file
from archon.errors import UsageError, require

_PAGE, _COMPARISON = "view.html", "compare.html"


@command
@click.argument("given", nargs=-1, required=True, metavar="RUN...|STUDY")
@click.option(
    "--output",
    metavar="FILE",
    help=f"By default {_PAGE} in the folder of the run or study, {_COMPARISON} here for several "
    "runs.",
)
@click.option("--study", metavar="NAME", help="Which study, where a storage holds several.")
@click.option("--open", "open_page", is_flag=True, help="Show the page in the browser.")
def view(
    given: Sequence[str], output: str | None, study: str | None, open_page: bool, as_json: bool
) -> None:
    """Write the folder RUN of an evaluation as one HTML file that needs no network.

    Several runs stand on one page, with their paired differences. A STUDY of archon search is
    named by its folder, its SQLite file, or the URL of its storage with --study.
    """
    from archon.study.load_study import is_study

    studies = [one for one in given if study is not None or is_study(one)]
    if studies and len(given) > 1:
        raise UsageError(f"{studies[0]} is a study, which is viewed alone")
    file = output_file(output)
    path, told = _of_study(given[0], study, file) if studies else _of_runs(given, file)
    if as_json:
        emit({"output": str(path), **told})
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    console().print(f"page: {path} ({size})", soft_wrap=True)
    if open_page:
        webbrowser.open(path.absolute().as_uri())


def _of_runs(given: Sequence[str], output: Path | None) -> tuple[Path, dict[str, Any]]:
    from archon.evals.run import read_run
    from archon.evals.view.page import write_page
    from archon.evals.view.source import StoredRun

    data = [StoredRun(read_run(run)) for run in given]
    default = Path(given[0]) / _PAGE if len(given) == 1 else Path(_COMPARISON)
    path = default if output is None else output
    page = write_page(data, path)
    return path, {"runs": len(data), "num_items": len(page.summary["items"])}


def _of_study(given: str, name: str | None, output: Path | None) -> tuple[Path, dict[str, Any]]:
    from archon.study.load_study import read_study
    from archon.study.storage import safe_name
    from archon.study.view.page import write_study_page

    optuna = require("optuna", "search")
    if not logging.getLogger().isEnabledFor(logging.INFO):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
    stored = read_study(given, name)
    here = Path(f"{safe_name(stored.name)}.html")
    default = here if stored.folder is None else stored.folder / _PAGE
    path = default if output is None else output
    data = write_study_page(stored, path)
    return path, {"study": stored.name, "num_trials": data["num_trials"]}
