"""Command lines of tests: defaults, and options that replace them."""

from __future__ import annotations

from collections.abc import Sequence


def with_options(defaults: Sequence[str], given: Sequence[str]) -> list[str]:
    """Pairs of option and value, less those defaults that are given anew.

    >>> with_options(["--rounds", "1", "--seconds", "2"], ["--rounds", "9", "--json"])
    ['--seconds', '2', '--rounds', '9', '--json']
    """
    pairs = zip(defaults[::2], defaults[1::2], strict=True)
    return [word for pair in pairs if pair[0] not in given for word in pair] + list(given)
