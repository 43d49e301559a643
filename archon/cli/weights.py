"""Making models ready before they are asked: weights pulled, with progress, and loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from archon import weights
from archon.cli.console import console, megabytes
from archon.lm.lazy import LazyLM
from archon.spec.model import LocalCard
from archon.weights import OnProgress, PullProgress

STAGES = {
    "waiting": "another process is pulling",
    "downloading": "pulling",
    "verifying": "checking",
}


def open_all(lms: Iterable[LazyLM]) -> None:
    """Fetch the weights that are not here yet, and open every model.

    A model that cannot be run is so found out before the first question, and once.

    Raises
    ------
    ModelError
        The weights of one cannot be had or run.
    UsageError
        What a card names on this machine, such as a key, is not there.
    MissingExtraError
        A backend needs a package that is not installed.
    """
    for lm in lms:
        if isinstance(lm.card, LocalCard):
            if weights.find(lm.card, lm.base_dir) is None:
                with lm.naming_card():
                    pull(lm.card, lm.base_dir)
            with console().status(f"loading {lm.card.name}"):
                lm.open()
        else:
            lm.open()


def pull(card: LocalCard, base_dir: Path, *, verify: bool = False) -> Path:
    """``weights.pull`` with a bar on a terminal, with a line every tenth elsewhere."""
    with _bar(card.name) if console().is_terminal else _lines(card.name) as listen:
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
                description=f"{STAGES[progress.stage]} {name}",
                completed=progress.done_bytes,
                total=progress.total_bytes,
            )

        yield listen


@contextmanager
def _lines(name: str) -> Iterator[OnProgress]:
    said: tuple[str, int] | None = None

    def listen(progress: PullProgress) -> None:
        nonlocal said
        total_bytes = progress.total_bytes or 0
        counts = progress.stage == "downloading" and total_bytes > 0
        tenth = 10 * progress.done_bytes // total_bytes if counts else 0
        if (progress.stage, tenth) != said:
            said = (progress.stage, tenth)
            line = f"{STAGES[progress.stage]} {name}"
            if counts:
                line += f": {megabytes(progress.done_bytes)} of {megabytes(total_bytes)}"
            console().print(line)

    yield listen
