"""Options of a question, and their letters.

A prompt shows options below the question, one per line, after letters: ``A. Rome``. Evaluations
shuffle them for each item, because models prefer some positions. The value of an answer is the
option's text, so that it does not depend on the order. If a question's text has the options itself,
the value is the letter. ``choice.py`` reads values.
"""

from __future__ import annotations

from collections.abc import Sequence

from archon.errors import UsageError

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def with_options(text: str, choices: Sequence[str]) -> str:
    r"""Return a question's text with its options below it, one per line, after letters.

    >>> with_options("What is the capital of France?", ["Rome", "Paris"])
    'What is the capital of France?\n\nA. Rome\nB. Paris'

    Raises
    ------
    UsageError
        There are more options than letters.
    """
    if not choices:
        return text
    if len(choices) > len(LETTERS):
        raise UsageError(f"a question can have {len(LETTERS)} options, not {len(choices)}")
    lines = (f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False))
    return "\n".join([f"{text}\n", *lines])


def letter_of(value: str, choices: Sequence[str]) -> str:
    """Return the letter of a value that is one of the choices; any other value is unchanged."""
    return LETTERS[choices.index(value)] if value in choices else value
