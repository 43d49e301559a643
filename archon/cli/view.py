"""``archon view``: render runs or a study as a single HTML page."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from archon.cli.console import ResultPrinter, emit
from archon.cli.options import command, output_file, require_optuna
from archon.errors import UsageError

_PAGE, _COMPARISON = "view.html", "compare.html"


@command
@click.argument("given", nargs=-1, required=True, metavar="RUN...|STUDY")
@click.option(
    "--output",
    metavar="FILE",
    help=f"File to write; by default {_PAGE} in the folder of the run or study, or "
    f"{_COMPARISON} in the current folder for several runs.",
)
@click.option("--study", metavar="NAME", help="Render this study from the storage.")
@click.option("--open", "open_page", is_flag=True, help="Open the page in a browser.")
def view(
    given: Sequence[str], output: str | None, study: str | None, open_page: bool, as_json: bool
) -> None:
    """Render runs or a study as a single HTML page.

    RUN is the folder of a run. With several runs, the page also shows how they differ. STUDY is a
    study by archon search: its folder, its SQLite file, or a database URL with --study. The page
    works offline.
    """
    from archon.study.load_study import is_study

    studies = [one for one in given if study is not None or is_study(one)]
    if studies and len(given) > 1:
        raise UsageError(
            f"{studies[0]} is a study, and a page can show only one study; remove the other "
            f"arguments"
        )
    file = output_file(output)
    path, counts = _write_study(given[0], study, file) if studies else _write_runs(given, file)
    if as_json:
        emit({"output": str(path), **counts})
    ResultPrinter(as_json).line(f"page: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    if open_page:
        webbrowser.open(path.absolute().as_uri())


def _write_runs(given: Sequence[str], output: Path | None) -> tuple[Path, dict[str, Any]]:
    from archon.evals.run import read_run
    from archon.evals.view.page import write_page
    from archon.evals.view.source import StoredRun

    runs = [StoredRun(read_run(run)) for run in given]
    path = output or (Path(given[0]) / _PAGE if len(given) == 1 else Path(_COMPARISON))
    page = write_page(runs, path)
    return path, {"runs": len(runs), "num_items": len(page.summary["items"])}


def _write_study(given: str, name: str | None, output: Path | None) -> tuple[Path, dict[str, Any]]:
    from archon.study.load_study import read_study
    from archon.study.storage import safe_name
    from archon.study.view.page import write_study_page

    require_optuna()
    stored = read_study(given, name)
    folder = stored.folder
    path = output or (Path(f"{safe_name(stored.name)}.html") if folder is None else folder / _PAGE)
    data = write_study_page(stored, path)
    return path, {"study": stored.name, "num_trials": data["num_trials"]}
