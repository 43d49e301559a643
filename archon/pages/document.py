"""Write self-contained HTML files, which consist of one style sheet, one script and the data.

Nothing in the data can be executed. The Content-Security-Policy in the file's head allows only the
style sheet and the script, identified by their digests. The data is in ``script`` elements of
another type, and the script inserts it into the page only as text.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from archon.errors import UsageError, os_reason
from archon.storage.atomic import replacing

_SLOT = re.compile(r"\{\{(\w+)\}\}")


def document(
    title: str,
    body: str,
    *,
    styles: Sequence[str],
    scripts: Sequence[str],
    reads_data: bool = False,
) -> str:
    """Return the contents of an HTML file.

    Parameters
    ----------
    body
        The content of the ``body`` element, without the script.
    styles
        Style sheets, which are concatenated.
    scripts
        Scripts, which are concatenated and share one scope.
    reads_data
        Whether the scripts may request data from the server of the page.
    """
    style, modules = "\n".join(styles), "\n".join(scripts)
    script = f'(() => {{\n"use strict";\n{modules}\n}})();'
    assert "</" not in style
    assert not re.search(r"</script|<!--", script, re.IGNORECASE)
    slots = {
        "style_digest": _digest(style),
        "script_digest": _digest(script),
        "connect": "connect-src 'self'; " if reads_data else "",
        "style": style,
        "script": script,
        "title": escape(title.encode("utf-8", "replace").decode("utf-8")),
        "body": body,
    }
    return filled(static("document.html"), slots)


def write_document(output: Path, text: str) -> None:
    """Write an HTML file atomically (``archon.storage.atomic.replacing``).

    Raises
    ------
    UsageError
        The file cannot be written.
    """
    try:
        with replacing(output) as part:
            part.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"cannot write {output}: {os_reason(error)}") from None


def static(name: str, package: str = "archon.pages") -> str:
    """Return the contents of a static file of a package: a script, a style sheet or a template."""
    return files(package).joinpath("static", name).read_text(encoding="utf-8").strip()


def filled(template: str, slots: Mapping[str, str]) -> str:
    """Replace each ``{{slot}}`` of a template with its text; inserted texts are not searched."""
    return _SLOT.sub(lambda slot: slots[slot[1]], template)


def embedded(data: Any) -> str:
    r"""Encode data as JSON that is safe to embed in a ``script`` element.

    >>> embedded({"text": "</script>"})
    '{"text":"\\u003c/script>"}'
    """
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _digest(text: str) -> str:
    """Return the digest of a script or style sheet in the format of Content-Security-Policy."""
    return "sha256-" + base64.b64encode(sha256(text.encode()).digest()).decode("ascii")
