"""Download weights with a progress display, and open and close models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from archon import weights
from archon.cli.console import console, megabytes, spinner
from archon.errors import UsageError
from archon.lm.lazy import LazyLM
from archon.spec.model import LocalCard
from archon.spec.reader import Loaded
from archon.weights import OnProgress, PullProgress

_STAGES = {
    "waiting": "waiting for another process to download",
    "downloading": "downloading",
    "verifying": "verifying",
}


def open_all(lms: Iterable[LazyLM]) -> None:
    """Download missing weights, and open every model.

    Call this before the first question, so that an unusable model is reported early and only once.

    Raises
    ------
    ModelError
        The weights of a model are unavailable or cannot be loaded.
    UsageError
        A model card requires something that this machine lacks, such as an environment variable
        with an API key.
    MissingExtraError
        A backend needs a package that is not installed.
    """
    for lm in lms:
        if isinstance(lm.card, LocalCard):
            if weights.find(lm.card, lm.base_dir) is None:
                with lm.naming_card():
                    pull(lm.card, lm.base_dir)
            with spinner(f"loading {lm.card.name}"):
                lm.open()
        else:
            lm.open()


async def close_all(lms: Iterable[LazyLM]) -> None:
    """Close every model."""
    for lm in lms:
        await lm.aclose()


def local_card(loaded: Loaded[Any]) -> LocalCard:
    """Return the card of a local model.

    Raises
    ------
    UsageError
        The card has another backend.
    """
    card = loaded.spec
    if not isinstance(card, LocalCard):
        raise UsageError(
            f"{card.name!r} has no weights on this machine because its backend is "
            f"{card.backend!r}; choose a local model"
        )
    return card


def pull(card: LocalCard, base_dir: Path, *, verify: bool = False) -> Path:
    """Download weights. Show a progress bar on a terminal, otherwise a line for every tenth."""
    with _bar(card.name) if console().is_interactive else _lines(card.name) as listen:
        return weights.pull(card, base_dir, listen, verify=verify)


@contextmanager
def _bar(name: str) -> Iterator[OnProgress]:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console(), transient=True) as bar:
        task = bar.add_task(name, total=None)

        def listen(progress: PullProgress) -> None:
            bar.update(
                task,
                description=f"{_STAGES[progress.stage]} {name}",
                completed=progress.done_bytes,
                total=progress.total_bytes,
            )

        yield listen


@contextmanager
def _lines(name: str) -> Iterator[OnProgress]:
    printed: tuple[str, int] | None = None

    def listen(progress: PullProgress) -> None:
        nonlocal printed
        total_bytes = progress.total_bytes or 0
        has_size = progress.stage == "downloading" and total_bytes > 0
        tenth = 10 * progress.done_bytes // total_bytes if has_size else 0
        if (progress.stage, tenth) != printed:
            printed = (progress.stage, tenth)
            line = f"{_STAGES[progress.stage]} {name}"
            if has_size:
                line += f": {megabytes(progress.done_bytes)} of {megabytes(total_bytes)}"
            console().print(line)

    yield listen
