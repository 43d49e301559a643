"""Write the HTML page of runs from its static files and its data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from archon.evals.view.page_data import Page, gather
from archon.evals.view.source import RunData
from archon.pages.document import document, embedded, filled, static, write_document

_SHARED_STYLES = ("base.css", "overview.css", "graph.css", "flow.css")
STYLES = ("item.css",)
_SHARED_SCRIPTS = (
    "dom.js",
    "format.js",
    "stages.js",
    "wires.js",
    "charts.js",
    "flow.js",
    "candidate.js",
    "calls.js",
)
SCRIPTS = (
    "data.js",
    "summary.js",
    "comparison.js",
    "graph.js",
    "filters.js",
    "table.js",
    "preferences.js",
    "ranking.js",
    "item.js",
    "keys.js",
    "main.js",
)
"""The scripts of the page. They are concatenated after the shared scripts and share one scope."""


def write_page(runs: Sequence[RunData], output: Path) -> Page:
    """Write the HTML page of one or several runs to a file.

    Raises
    ------
    UsageError
        A run cannot be read, or the file cannot be written.
    """
    page = gather(runs)
    write_document(output, html(page))
    return page


def html(page: Page) -> str:
    """Return the complete HTML of a page."""
    chunks = "\n".join(
        f'<script type="application/x-archon-chunk" id="chunk-{number}">{chunk}</script>'
        for number, chunk in enumerate(page.chunks)
    )
    slots = {"summary": embedded(page.summary), "shared": page.shared, "chunks": chunks}
    return document(
        _title(page),
        filled(_static("page.html"), slots),
        styles=[*map(static, _SHARED_STYLES), *map(_static, STYLES)],
        scripts=[*map(static, _SHARED_SCRIPTS), *map(_static, SCRIPTS)],
    )


def _static(name: str) -> str:
    return static(name, "archon.evals.view")


def _title(page: Page) -> str:
    names = [str(run["name"]) for run in page.summary["runs"]]
    benchmark = page.summary["runs"][0]["report"].get("benchmark")
    return f"{' · '.join(names)} on {benchmark}"
