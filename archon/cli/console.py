"""Print results on standard output, and messages on standard error.

Messages are progress, warnings, errors and hints. With ``--json``, standard output contains only
the JSON object, and the readable result is printed on standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

from archon.evals.rounding import decimal, percent, signed

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_UNLIMITED_WIDTH = 100_000
"""Width in columns for output to a pipe or a file; wider than any table."""


@cache
def console() -> Console:
    """Return the console for messages, which writes to standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def print_line(text: str, style: str | None = None) -> None:
    """Print a message on standard error without wrapping it at the width of the terminal."""
    console().print(text, style=style, soft_wrap=True)


class ResultPrinter:
    """Prints a result on standard output, or on standard error with ``--json``.

    In a pipe or a file, tables are as wide as their content, unless the ``COLUMNS`` environment
    variable sets a width.
    """

    def __init__(self, as_json: bool = False) -> None:
        from rich.console import Console

        file = sys.stderr if as_json else sys.stdout
        has_width = file.isatty() or "COLUMNS" in os.environ
        width = None if has_width else _UNLIMITED_WIDTH
        self._console = Console(file=file, width=width, highlight=False, markup=False, emoji=False)

    def line(self, text: str, style: str | None = None) -> None:
        """Print text without wrapping it at the width of the terminal."""
        self._console.print(text, style=style, soft_wrap=True)

    def table(self, table: RenderableType) -> None:
        """Print one or more tables."""
        self._console.print(table)


def spinner(text: str) -> AbstractContextManager[object]:
    """Show a spinner and a text while the block runs, if the terminal is interactive."""
    return console().status(text) if console().is_interactive else nullcontext()


def emit(result: Mapping[str, Any]) -> None:
    """Print the JSON object of ``--json`` on standard output."""
    print(json.dumps(result, allow_nan=False, indent=2 if sys.stdout.isatty() else None))


def megabytes(num_bytes: int) -> str:
    """Format a size in megabytes.

    >>> megabytes(98_362_432), megabytes(1_117_320_768)
    ('98 MB', '1117 MB')
    """
    return f"{num_bytes / 1e6:.0f} MB"


def counted(count: int, noun: str) -> str:
    """Format a count with its noun.

    >>> counted(1, "call"), counted(12, "call")
    ('1 call', '12 calls')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def with_interval(share: float | None, interval: tuple[float, float] | None) -> str:
    """Format a share and its interval in percent, or return a dash if the share is None.

    >>> with_interval(0.425, (0.285, 0.578)), with_interval(None, None)
    ('42.5% [28.5, 57.8]', '–')
    """
    if share is None or interval is None:
        return "–"
    low, high = interval
    return f"{percent(share)}% [{percent(low)}, {percent(high)}]"


def points(difference: float, interval: tuple[float, float]) -> str:
    """Format a difference between shares, and its interval, in percentage points.

    >>> points(0.125, (-0.004, 0.254))
    '+12.5 [-0.4, +25.4]'
    """
    shown = [signed(value, 1, shift=2) for value in (difference, *interval)]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def p_text(p_value: float) -> str:
    """Format a p-value.

    >>> p_text(0.0401), p_text(0.00004)
    ('0.040', '< 0.001')
    """
    return "< 0.001" if p_value < 0.001 else decimal(p_value, 3)
