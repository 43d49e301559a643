"""Small pieces of HTML for notebooks. All texts are escaped; nothing is loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

WRAPPED = "white-space:pre-wrap;text-align:left"
"""Style of texts that keep their line breaks."""


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    head = "".join(f'<th style="text-align:left">{escape(heading)}</th>' for heading in headings)
    body = "".join(
        "<tr>" + "".join(f'<td style="{WRAPPED}">{escape(cell)}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def folded(title: str, content: str) -> str:
    """Return HTML that is collapsed below its title."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def block(title: str, parts: Iterable[str], warnings: Iterable[str] = ()) -> str:
    """Return parts of HTML in one block, below a title and above a list of warnings."""
    notes = "".join(f"<p>⚠ {escape(warning)}</p>" for warning in warnings)
    return f"<div><p><b>{escape(title)}</b></p>{''.join(parts)}{notes}</div>"
