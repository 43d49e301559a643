"""A progress bar for programs and notebooks, shown where somebody can watch it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Update = Callable[[str, int, int | None], None]
"""Function that receives (description, amount done, total amount or None)."""


@contextmanager
def progress_bar(title: str, shows: bool | None) -> Iterator[Update | None]:
    """Show a progress bar on standard error, or in a notebook, while the block runs.

    Parameters
    ----------
    shows
        Whether to show it; None shows it on a terminal and in a notebook only.

    Yields
    ------
    The function that updates the bar; any thread may call it. None if there is no bar.
    """
    if shows is False:
        yield None
        return
    from rich.console import Console

    console = Console(stderr=True)
    is_watched = console.is_jupyter or (console.is_terminal and not console.is_dumb_terminal)
    if not (shows or is_watched):
        yield None
        return
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
