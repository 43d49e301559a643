"""A progress bar for programs and notebooks, shown where somebody can watch it."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

Update = Callable[[str, int, int | None], None]
"""Function that receives (description, amount done, total amount or None)."""

_NOTEBOOK_SECONDS = 0.2
"""Minimum time between two updates of a notebook, which are messages to a browser."""


def progress_bar(title: str, shows: bool | None) -> AbstractContextManager[Update | None]:
    """Show a progress bar on standard error, or in a notebook, while the block runs.

    Parameters
    ----------
    shows
        Whether to show it; None shows it on a terminal and in a notebook only.

    Returns
    -------
    A context manager. Its value is the function that updates the bar, which any thread may call,
    or None if there is no bar.
    """
    if shows is False:
        return _no_bar()
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_jupyter:
        return _notebook_bar(title)
    if shows or (console.is_terminal and not console.is_dumb_terminal):
        return _terminal_bar(title, console)
    return _no_bar()


@contextmanager
def _no_bar() -> Iterator[None]:
    yield None


@contextmanager
def _terminal_bar(title: str, console: Console) -> Iterator[Update]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=None)

        def update(description: str, done: int, total: int | None) -> None:
            bar.update(task, description=description, completed=done, total=total)

        yield update


@contextmanager
def _notebook_bar(title: str) -> Iterator[Update]:
    """Show the bar as an output of the cell, which needs no widgets.

    What remains in a saved notebook has no times, so that it is the same after every run.
    """
    from IPython.display import display

    latest = _notebook_output(title, 0, None)
    output = display(latest, raw=True, display_id=True)  # type: ignore[no-untyped-call]
    shown_at = time.monotonic()

    def update(description: str, done: int, total: int | None) -> None:
        nonlocal latest, shown_at
        latest = _notebook_output(description, done, total)
        if time.monotonic() - shown_at >= _NOTEBOOK_SECONDS:
            shown_at = time.monotonic()
            output.update(latest, raw=True)

    try:
        yield update
    finally:
        output.update(latest, raw=True)


def _notebook_output(description: str, done: int, total: int | None) -> dict[str, str]:
    """Return MIME type → an output of a notebook cell."""
    text = description if total is None else f"{description} ({done} of {total})"
    bar = "" if total is None else f'<progress value="{done}" max="{total}"></progress> '
    return {"text/plain": text, "text/html": f"{bar}{html.escape(text)}"}
