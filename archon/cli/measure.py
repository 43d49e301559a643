"""What ``eval`` and ``compare`` share: their options, their progress, and one evaluation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from archon.cli.console import console
from archon.cli.options import models_option, seed_option

if TYPE_CHECKING:
    from archon.api import Benchmark
    from archon.evals.folder import RunFolder
    from archon.evals.report import Report
    from archon.evals.runner import OnProgress, Progress
    from archon.graph.architecture import Architecture
    from archon.lm.lazy import LazyLM


def measuring_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Which models, which items and which draws."""
    options = (
        models_option,
        click.option("--limit", type=int, help="Take the first so many items of the split."),
        seed_option,
        click.option(
            "--epochs",
            type=int,
            default=1,
            show_default=True,
            help="Ask each item so often, on fresh draws.",
        ),
        click.option(
            "--split", default="select", show_default=True, help="search, select or test."
        ),
        click.option(
            "--data", metavar="PATH", help="A JSONL file in the place of the card's own source."
        ),
        click.option("--output", metavar="FOLDER", help="Where the run goes; by default in runs/."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@dataclass(frozen=True)
class Draws:
    """How often, and on which draws, each item is asked."""

    seed: int
    epochs: int


def measure(
    architecture: Architecture,
    lms: Sequence[LazyLM],
    items: Benchmark,
    folder: RunFolder,
    draws: Draws,
) -> Report:
    """Evaluate with a progress bar; an interrupt leaves what is finished in the folder."""
    from archon.api import aevaluate

    async def evaluate(on_progress: OnProgress) -> Report:
        try:
            return await aevaluate(
                architecture,
                items,
                folder,
                seed=draws.seed,
                epochs=draws.epochs,
                on_progress=on_progress,
            )
        finally:
            for lm in lms:
                await lm.aclose()

    bar = _bar if console().is_terminal else _lines
    with bar(architecture.name, len(items.items) * draws.epochs) as on_progress:
        return asyncio.run(evaluate(on_progress))


def percent(share: float | None) -> str:
    """A share as people read it."""
    return "–" if share is None else f"{100 * share:.1f} %"


def accuracy_text(report: dict[str, Any]) -> str:
    """Accuracy and its 95 % interval."""
    if report["accuracy_interval"] is None:
        return "–"
    low, high = report["accuracy_interval"]
    return f"{percent(report['accuracy'])} [{100 * low:.1f}, {100 * high:.1f}]"


@contextmanager
def _bar(name: str, num_runs: int) -> Iterator[OnProgress]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console(), transient=True) as bar:
        task = bar.add_task(name, total=num_runs, told="")

        def on_progress(progress: Progress) -> None:
            bar.update(task, completed=progress.num_done, told=_told(progress))

        yield on_progress


@contextmanager
def _lines(name: str, num_runs: int) -> Iterator[OnProgress]:
    tenth = 0

    def on_progress(progress: Progress) -> None:
        nonlocal tenth
        if 10 * progress.num_done // num_runs > tenth:
            tenth = 10 * progress.num_done // num_runs
            console().print(f"{name}: {progress.num_done} of {num_runs}, {_told(progress)}")

    yield on_progress


def _told(progress: Progress) -> str:
    accuracy = percent(progress.num_right / progress.num_done if progress.num_done else None)
    errors = f", {progress.num_errors} failed" if progress.num_errors else ""
    speed = progress.generated_tokens / progress.seconds if progress.seconds else 0
    return f"accuracy {accuracy}{errors}, {speed:.0f} tokens/s"
