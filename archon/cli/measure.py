"""What ``eval`` and ``compare`` share: their options, their progress, and one evaluation."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archon.cli.console import console
from archon.cli.options import models_by_role, models_option, seed_option
from archon.errors import UsageError

if TYPE_CHECKING:
    from archon.api import Benchmark
    from archon.evals.folder import RunFolder
    from archon.evals.report import Report
    from archon.evals.runner import Evaluation, OnProgress, Progress
    from archon.graph.architecture import Architecture
    from archon.lm.lazy import LazyLM


@dataclass(frozen=True)
class Measuring:
    """Which models, which items and which draws; where the run goes."""

    models: dict[str, Any]
    limit: int | None
    seed: int
    epochs: int
    split: str
    data: str | None
    output: Path | None
    resume: bool

    def benchmark(self, ref: str) -> Benchmark:
        """The items of a benchmark that are to be asked."""
        from archon.api import benchmark

        return benchmark(ref, split=self.split, limit=self.limit, data=self.data)

    def evaluation(self, architecture: Architecture, items: Benchmark) -> Evaluation:
        """Everything that is to be asked of an architecture."""
        from archon.api import evaluation

        return evaluation(architecture, items, seed=self.seed, epochs=self.epochs)


def measuring_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a ``Measuring``, which the command takes as ``measuring``."""
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
        click.option(
            "--resume", is_flag=True, help="Go on with the run in --output, if there is one."
        ),
    )

    @functools.wraps(function)
    def with_measuring(
        models: Sequence[str], output: str | None, resume: bool, **options: Any
    ) -> Any:
        if resume and not output:
            raise UsageError("--resume needs --output, which names the folder of the run")
        chosen = {name: options.pop(name) for name in ("limit", "seed", "epochs", "split", "data")}
        measuring = Measuring(
            models=models_by_role(models),
            output=Path(output) if output else None,
            resume=resume,
            **chosen,
        )
        return function(measuring=measuring, **options)

    for option in reversed(options):
        with_measuring = option(with_measuring)
    return with_measuring


def measure(evaluation: Evaluation, lms: Sequence[LazyLM], folder: RunFolder) -> Report:
    """Evaluate with a progress bar; an interrupt leaves what is finished in the folder."""
    from archon.evals.runner import evaluate

    async def evaluate_and_close(on_progress: OnProgress) -> Report:
        try:
            return await evaluate(evaluation, folder, on_progress=on_progress)
        finally:
            for lm in lms:
                await lm.aclose()

    bar = _bar if console().is_terminal else _lines
    num_runs = len(evaluation.items) * evaluation.epochs
    with bar(evaluation.architecture.name, num_runs) as on_progress:
        return asyncio.run(evaluate_and_close(on_progress))


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
