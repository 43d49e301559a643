"""Read the option that a text gives as its answer."""

from __future__ import annotations

from collections.abc import Sequence

from archon.answers.letters import LETTERS


def read_choice(text: str, choices: Sequence[str] = ()) -> str | None:
    """Return the option that a text gives as its answer, or None."""
    return read_stated_choice(text, choices)


def read_stated_choice(text: str, choices: Sequence[str] = ()) -> str | None:
    """Return the option that a text states explicitly as its answer, or None."""
    return read_target_choice(text, choices)


def read_target_choice(text: str, choices: Sequence[str] = ()) -> str | None:
    """Return the option that a reference answer names by its letter or text, or None."""
    text = text.strip()
    if text in choices:
        return text
    index = LETTERS.find(text.upper()) if len(text) == 1 else -1
    if index < 0 or index >= (len(choices) or len(LETTERS)):
        return None
    return choices[index] if choices else LETTERS[index]
