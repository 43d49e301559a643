"""``archon view``: render runs, a study or a folder of runs as a single HTML page."""

from __future__ import annotations

import contextlib
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from archon.cli import completers
from archon.cli.console import ResultPrinter, emit, print_line
from archon.cli.options import command, output_file, require_optuna
from archon.errors import UsageError

_PAGE, _COMPARISON, _INDEX = "view.html", "compare.html", "index.html"


@command
@click.argument(
    "given",
    nargs=-1,
    required=True,
    metavar="RUN...|STUDY|FOLDER",
    shell_complete=completers.runs,
)
@click.option(
    "--output",
    metavar="FILE",
    shell_complete=completers.files,
    help=f"File to write; by default {_PAGE} in the folder of the run, study or comparison, "
    f"{_INDEX} in a folder of runs, or {_COMPARISON} in the current folder for several runs.",
)
@click.option("--study", metavar="NAME", help="Render this study from the storage.")
@click.option("--open", "open_page", is_flag=True, help="Open the page in a browser.")
@click.option(
    "--serve",
    is_flag=True,
    help="Serve the page of FOLDER on this machine, updated while runs are in progress, with the "
    "pages of all runs.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Port for --serve; by default a free one.",
)
def view(
    given: Sequence[str],
    output: str | None,
    study: str | None,
    open_page: bool,
    serve: bool,
    port: int | None,
    as_json: bool,
) -> None:
    """Render runs, a study or a folder of runs as a single HTML page.

    RUN is the folder of a run. With several runs, or the folder of a comparison, the page also
    shows how they differ. STUDY is a study by archon search: its folder, its SQLite file, or a
    database URL with --study. FOLDER contains runs and studies in any subfolders; its page lists,
    sorts, filters and compares them. Pages work offline.
    """
    from archon.study.load_study import is_study

    if port is not None and not serve:
        raise UsageError("--port is only for --serve")
    if serve:
        _serve(given, output, port or 0, open_page, as_json)
        return
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


def _serve(
    given: Sequence[str], output: str | None, port: int, open_page: bool, as_json: bool
) -> None:
    """Serve the index page of a folder until the user interrupts."""
    from archon.cli.run_table import run_list
    from archon.cli.view_server import HOST, IndexServer, start_server

    if len(given) > 1 or output is not None:
        raise UsageError("--serve takes one folder and no --output")
    runs = run_list(given[0])
    counts = {name: len(rows) for name, rows in runs.read().items()}
    with start_server(IndexServer(runs, _study_html), port) as http:
        address = f"http://{HOST}:{http.server_port}/"
        if as_json:
            emit({"address": address, **counts})
        print_line(f"serving {given[0]} at {address}; Ctrl-C stops")
        if open_page:
            webbrowser.open(address)
        with contextlib.suppress(KeyboardInterrupt):
            http.serve_forever()


def _study_html(folder: Path) -> str:
    from archon.study.load_study import read_study
    from archon.study.view.page import gather, html

    require_optuna()
    return html(gather(read_study(str(folder)), folder / _PAGE))


def _write_runs(given: Sequence[str], output: Path | None) -> tuple[Path, dict[str, Any]]:
    """Write the page of runs, of a comparison, or of a folder of runs."""
    from archon.evals.collection.find_runs import runs_of_comparison
    from archon.evals.folder import RunFolder
    from archon.evals.run import read_run
    from archon.evals.view.page import write_page
    from archon.evals.view.source import StoredRun

    folder = Path(given[0])
    path = output or (folder / _PAGE if len(given) == 1 else Path(_COMPARISON))
    if len(given) == 1 and folder.is_dir() and not RunFolder(folder).holds_run:
        given = [str(run) for run in runs_of_comparison(folder)]
        if not given:
            return _write_index(folder, output or folder / _INDEX)
    runs = [StoredRun(read_run(run)) for run in given]
    page = write_page(runs, path)
    return path, {"runs": len(runs), "num_items": len(page.summary["items"])}


def _write_index(folder: Path, path: Path) -> tuple[Path, dict[str, Any]]:
    from archon.cli.run_table import run_list
    from archon.evals.collection.index_page import write_index

    runs = run_list(str(folder))
    if not any(runs.read().values()):
        raise UsageError(f"{folder} contains no runs and no studies")
    data = write_index(runs, path).plain
    return path, {name: len(data[name]) for name in ("runs", "comparisons", "studies")}


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
