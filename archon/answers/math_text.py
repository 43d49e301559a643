"""Read an expression as an answer."""

from __future__ import annotations

from archon.answers.numbers import read_number, read_stated_number, read_target_number


def read_math(text: str, *, is_truncated: bool = False) -> str | None:
    """Return the expression that a text gives as its answer."""
    return read_number(text, is_truncated=is_truncated)


def read_stated_math(text: str) -> str | None:
    """Return the expression that a text states explicitly, or None."""
    return read_stated_number(text)


def read_target_math(text: str) -> str | None:
    """Return the canonical form of a reference answer."""
    return read_target_number(text)
