"""One HTML file: a style sheet, a script and the data, and nothing from elsewhere.

Nothing of the data may run: the policy in the file's head allows the one style sheet and the one
script by their digests, the data stand in blocks that are no scripts, and the script writes them as
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
    """The file as text.

    Parameters
    ----------
    body
        What stands in the document's body, before the script.
    scripts
        In this order they share one scope.
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
        It cannot be written.
    """
    try:
        with replacing(output) as part:
            part.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UsageError(f"cannot write {output}: {os_reason(error)}") from None


def static(name: str, package: str = "archon.evals.view") -> str:
    """A file that is shipped with the pages."""
    return files(package).joinpath("static", name).read_text(encoding="utf-8").strip()


def filled(template: str, slots: Mapping[str, str]) -> str:
    """A template with its ``{{slots}}`` filled; what they are filled with is not looked at."""
    return _SLOT.sub(lambda slot: slots[slot[1]], template)


def embedded(data: Any) -> str:
    r"""JSON that can stand in a ``script`` element whatever its texts say.

    >>> embedded({"text": "</script>"})
    '{"text":"\\u003c/script>"}'
    """
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _digest(text: str) -> str:
    """Of an element's text, as a Content-Security-Policy names it."""
    return "sha256-" + base64.b64encode(sha256(text.encode()).digest()).decode("ascii")
