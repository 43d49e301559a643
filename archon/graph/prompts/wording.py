"""Texts with fields such as ``{question}``, which are parsed once and filled in many times."""

from __future__ import annotations

import re
from collections.abc import Mapping

_TOKEN = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*)\}")


class Wording:
    """A text with fields in single braces; ``{{`` and ``}}`` are literal braces.

    Braces around anything but a single word (``{"a": 1}``, ``\\boxed{}``) are not fields and stay
    unchanged. Braces in the values, such as a question's text, have no effect. If a value is empty,
    the blank line after its field is removed as well, so that optional parts leave no gap.
    """

    def __init__(self, text: str) -> None:
        self._literals: list[str] = []
        self._fields: list[str] = []
        literal, end = "", 0
        for match in _TOKEN.finditer(text):
            literal += text[end : match.start()]
            end = match.end()
            name = match.group(1)
            if name is None:
                literal += match.group()[0]
            else:
                self._literals.append(literal)
                self._fields.append(name)
                literal = ""
        self._literals.append(literal + text[end:])
        self.fields = frozenset(self._fields)

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the text with each field replaced by its value."""
        parts = [self._literals[0]]
        for name, literal in zip(self._fields, self._literals[1:], strict=True):
            value = values[name]
            parts += (value, literal) if value else (literal.removeprefix("\n\n"),)
        return "".join(parts)
