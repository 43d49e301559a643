"""Self-contained HTML files: one style sheet, one script and the data.

No part of the data can run: the policy in the file's head allows only the style sheet and the
script, by their digests; the data are in blocks of another type; and the script inserts them as
text only.
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


def document(title: str, body: str, *, styles: Sequence[str], scripts: Sequence[str]) -> str:
    """Return the file as text.

    Parameters
    ----------
    body
        The content of the body, in front of the script.
    scripts
        Scripts in one scope, in their order.
    """
    style, modules = "\n".join(styles), "\n".join(scripts)
    script = f'(() => {{\n"use strict";\n{modules}\n}})();'
    assert "</" not in style
    assert not re.search(r"</script|<!--", script, re.IGNORECASE)
    slots = {
        "style_digest": _digest(style),
        "script_digest": _digest(script),
        "style": style,
        "script": script,
        "title": escape(title.encode("utf-8", "replace").decode("utf-8")),
        "body": body,
    }
    return filled(static("document.html"), slots)


def write_document(output: Path, text: str) -> None:
    """Write a page; see ``archon.storage.atomic.replacing``.

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


def static(name: str, package: str = "archon.evals.view") -> str:
    """Read a static file of a page's package."""
    return files(package).joinpath("static", name).read_text(encoding="utf-8").strip()


def filled(template: str, slots: Mapping[str, str]) -> str:
    """Fill the ``{{slots}}`` of a template; slots in the inserted texts are not filled."""
    return _SLOT.sub(lambda slot: slots[slot[1]], template)


def embedded(data: Any) -> str:
    r"""Encode JSON so that no text in it can end a ``script`` element.

    >>> embedded({"text": "</script>"})
    '{"text":"\\u003c/script>"}'
    """
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _digest(text: str) -> str:
    """Return the digest of an element's text for a Content-Security-Policy."""
    return "sha256-" + base64.b64encode(sha256(text.encode()).digest()).decode("ascii")
