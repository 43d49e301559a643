"""Write the HTML page of runs from its static files and its data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from archon.evals.view.document import document, embedded, filled, static, write_document
from archon.evals.view.page_data import Page, gather
from archon.evals.view.source import RunData

STYLES = ("base.css", "overview.css", "item.css")
SCRIPTS = (
    "dom.js",
    "format.js",
    "data.js",
    "stages.js",
    "wires.js",
    "charts.js",
    "summary.js",
    "comparison.js",
    "graph.js",
    "filters.js",
    "table.js",
    "flow.js",
    "candidate.js",
    "calls.js",
    "preferences.js",
    "ranking.js",
    "item.js",
    "keys.js",
    "main.js",
)
"""The scripts of the page. They are concatenated in this order and share one scope."""


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
        filled(static("page.html"), slots),
        styles=[static(name) for name in STYLES],
        scripts=[static(name) for name in SCRIPTS],
    )


def _title(page: Page) -> str:
    names = [str(run["name"]) for run in page.summary["runs"]]
    benchmark = page.summary["runs"][0]["report"].get("benchmark")
    return f"{' · '.join(names)} on {benchmark}"
