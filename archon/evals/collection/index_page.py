"""The page of a folder of runs: one self-contained HTML file, or a page of a local server."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from archon.evals.collection.item_marks import ItemMarks
from archon.evals.collection.run_list import RunList
from archon.pages.document import document, embedded, filled, static, write_document

_SHARED_STYLES = ("base.css", "overview.css")
_SHARED_SCRIPTS = ("dom.js", "format.js", "charts.js")
"""Files that the pages of runs, of studies and of folders have in common."""
STYLES = ("index.css",)
SCRIPTS = (
    "statistics.js",
    "collection.js",
    "run_table.js",
    "comparison_panel.js",
    "groups.js",
    "index.js",
)
PAGE = "view.html"
"""Name of the page in the folder of a run or a study, to which the index links if it exists."""

Link = Callable[[str, str], str | None]
"""(``run``, ``comparison`` or ``study``; path) → address of its page; None if there is no page."""


@dataclass(frozen=True)
class IndexData:
    """The data of an index page."""

    plain: Mapping[str, Any]
    """The rows of runs, comparisons and studies, with links and the results of all items."""
    key: str
    """A digest that changes whenever the rows do."""

    def to_json(self, made: datetime, *, live: bool) -> dict[str, Any]:
        """Return the data for the page.

        Parameters
        ----------
        live
            Whether a server can be asked for new data.
        """
        time = made.isoformat(timespec="seconds")
        return {**self.plain, "key": self.key, "made": time, "live": live}


def index_data(runs: RunList, link: Link) -> IndexData:
    """Gather the data of an index page.

    Raises
    ------
    UsageError
        The folder cannot be read.
    """
    found = runs.read()
    marks: dict[str, ItemMarks] = {}
    for row in found["runs"]:
        row["href"] = link("run", row["path"])
        is_readable = row["state"] != "damaged" and row["num_runs"]
        means = runs.item_means(Path(row["path"])) if is_readable else {}
        group = marks.setdefault(f"{row['benchmark']} ({row['split']})", ItemMarks())
        row["marks"] = group.of(means)
    for kind, name in (("comparisons", "comparison"), ("studies", "study")):
        for row in found[kind]:
            row["href"] = link(name, row["path"])
    plain = {"folder": str(runs.folder), **found}
    digest = sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
    return IndexData(plain, digest[:16])


def write_index(runs: RunList, output: Path) -> IndexData:
    """Write the index page of a folder to a file, with links to the pages that exist.

    Raises
    ------
    UsageError
        The folder cannot be read, or the file cannot be written.
    """
    start = output.absolute().parent

    def link(kind: str, path: str) -> str | None:
        page = Path(path).absolute() / PAGE
        return quote(os.path.relpath(page, start)) if page.is_file() else None

    data = index_data(runs, link)
    write_document(output, html(data, datetime.now(UTC), live=False))
    return data


def html(data: IndexData, made: datetime, *, live: bool) -> str:
    """Return the complete HTML of an index page."""
    return document(
        f"Runs in {data.plain['folder']}",
        filled(_static("index.html"), {"data": embedded(data.to_json(made, live=live))}),
        styles=[*map(static, _SHARED_STYLES), *map(_static, STYLES)],
        scripts=[*map(static, _SHARED_SCRIPTS), *map(_static, SCRIPTS)],
        reads_data=live,
    )


def _static(name: str) -> str:
    return static(name, "archon.evals.collection")
