"""What ``eval`` and ``compare`` share: their options, their progress, and one evaluation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from archon.cli.console import with_interval
from archon.cli.options import models_option, seed_option

if TYPE_CHECKING:
    from archon.api import Benchmark
    from archon.evals.folder import RunFolder
    from archon.evals.report import Report
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
    place: str = "",
) -> Report:
    """Evaluate, and show how it goes; an interrupt leaves what is finished in the folder.

    ``place`` tells which of several evaluations this is, as "2 of 3".
    """
    from archon.api import aevaluate
    from archon.cli.live import followed
    from archon.evals.runner import DEFAULT_CONCURRENT_QUESTIONS

    title = f"{place}: {architecture.name}" if place else architecture.name
    num_runs = len(items.items) * draws.epochs

    async def evaluate() -> Report:
        async with followed(title, num_runs, lms, DEFAULT_CONCURRENT_QUESTIONS) as on_progress:
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

    return asyncio.run(evaluate())


def accuracy_text(report: dict[str, Any]) -> str:
    """Accuracy and its 95 % interval."""
    return with_interval(report["accuracy"], report["accuracy_interval"])
