"""The page of a study: which pieces it has, and its data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from archon.evals.view.document import document, embedded, filled, static, write_document
from archon.study.load_study import StoredStudy
from archon.study.view.page_data import gather

_SHARED_STYLES = ("base.css", "overview.css")
_SHARED_SCRIPTS = ("dom.js", "format.js", "stages.js", "wires.js", "charts.js")
"""Pieces of a run's page that this one has, too."""
STYLES = ("study.css",)
SCRIPTS = ("plots.js", "numbers.js", "front.js", "holes.js", "best.js", "trials.js", "study.js")


def write_study_page(stored: StoredStudy, output: Path) -> dict[str, Any]:
    """Gather the data of a study and write its page; the data.

    Raises
    ------
    UsageError : the file cannot be written.
    """
    data = gather(stored, output)
    write_document(output, html(data))
    return data


def html(data: dict[str, Any]) -> str:
    """The whole page as text."""
    return document(
        f"{data['name']}: {data['space']['name']} on {data['benchmark']}",
        filled(_own("study.html"), {"data": embedded(data)}),
        styles=[*map(static, _SHARED_STYLES), *map(_own, STYLES)],
        scripts=[*map(static, _SHARED_SCRIPTS), *map(_own, SCRIPTS)],
    )


def _own(name: str) -> str:
    return static(name, "archon.study.view")
