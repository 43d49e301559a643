"""The page: a template, one style sheet, one script and the data, in one file.

Nothing on it may come from elsewhere, and nothing of the data may run: the policy in its head
allows the one style sheet and the one script by their digests, the data stand in blocks that are
no scripts, and the script writes them as text only.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from archon.errors import UsageError, os_reason
from archon.evals.view.gather import Page, gather
from archon.evals.view.source import RunData

STYLES = ("base.css", "overview.css", "item.css")
SCRIPTS = (
    "dom.js",
    "format.js",
    "data.js",
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
"""In this order they share one scope."""
_SLOT = re.compile(r"\{\{(\w+)\}\}")


def write_page(runs: Sequence[RunData], output: Path) -> Page:
    """Gather the data of runs and write their page.

    Raises
    ------
    UsageError : a run cannot be read, or the file cannot be written.
    """
    page = gather(runs)
    part = output.with_name(f"{output.name}.part")
    try:
        part.write_text(html(page), encoding="utf-8", newline="\n")
        part.replace(output)
    except OSError as error:
        raise UsageError(f"cannot write {output}: {os_reason(error)}") from None
    return page


def html(page: Page) -> str:
    """The whole page as text."""
    style = "\n".join(_static(name) for name in STYLES)
    modules = "\n".join(_static(name) for name in SCRIPTS)
    script = f'(() => {{\n"use strict";\n{modules}\n}})();'
    assert "</" not in style
    assert not re.search(r"</script|<!--", script, re.IGNORECASE)
    chunks = [_block(f"chunk-{number}", chunk) for number, chunk in enumerate(page.chunks)]
    slots = {
        "style_digest": _digest(style),
        "script_digest": _digest(script),
        "style": style,
        "script": script,
        "title": escape(_title(page)),
        "summary": embedded(page.summary),
        "shared": page.shared,
        "chunks": "\n".join(chunks),
    }
    return _SLOT.sub(lambda slot: slots[slot[1]], _static("page.html"))


def embedded(data: Any) -> str:
    r"""JSON that can stand in a ``script`` element whatever its texts say.

    >>> embedded({"text": "</script>"})
    '{"text":"\\u003c/script>"}'
    """
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _block(name: str, chunk: str) -> str:
    return f'<script type="application/x-archon-chunk" id="{name}">{chunk}</script>'


def _title(page: Page) -> str:
    names = [str(run["name"]) for run in page.summary["runs"]]
    benchmark = page.summary["runs"][0]["report"].get("benchmark")
    title = f"{' · '.join(names)} on {benchmark}"
    return title.encode("utf-8", "replace").decode("utf-8")


def _static(name: str) -> str:
    return files("archon.evals.view").joinpath("static", name).read_text(encoding="utf-8").strip()


def _digest(text: str) -> str:
    """Of an element's text, as a Content-Security-Policy names it."""
    return "sha256-" + base64.b64encode(sha256(text.encode()).digest()).decode("ascii")
