"""Docstrings as the code has them, put into the form that mkdocstrings reads.

Sections of numpy's style have an item and its text on one line here (``seed : changes draws``),
where numpy's own form takes what follows the colon for a type.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_SECTION = re.compile(r"^(Parameters|Raises)\n-+\n((?:.+\n?)+)", re.M)
_ITEM = re.compile(r"^(\S.*?) : ", re.M)


class OneLineSections(Extension):
    """Puts the text of each item on a line of its own."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Called for each object with its docstring still unread."""
        if obj.docstring is not None:
            text = _SECTION.sub(_in_two_lines, obj.docstring.value)
            obj.docstring.value = text.replace("``", "`")


def _in_two_lines(section: re.Match[str]) -> str:
    return f"{section[1]}\n{'-' * len(section[1])}\n" + _ITEM.sub("\\1\n    ", section[2])
