"""What ``eval`` and ``compare`` share: their options, their progress, and one evaluation."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archon.cli.console import with_interval
from archon.cli.options import models_by_role, models_option, seed_option
from archon.errors import UsageError

if TYPE_CHECKING:
    from archon.api import Benchmark
    from archon.evals.folder import RunFolder
    from archon.evals.runner import Evaluation
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
    scorer: str | None
    output: Path | None
    resume: bool
    cache: bool

    def benchmark(self, ref: str) -> Benchmark:
        """The items of a benchmark that are to be asked."""
        from archon.api import benchmark

        return benchmark(
            ref, split=self.split, limit=self.limit, data=self.data, scorer=self.scorer
        )

    def evaluation(self, architecture: Architecture, items: Benchmark) -> Evaluation:
        """Everything that is to be asked of an architecture."""
        from archon.api import evaluation

        return evaluation(architecture, items, seed=self.seed, epochs=self.epochs)


_TAKEN_AS_THEY_ARE = ("limit", "seed", "epochs", "split", "data", "scorer", "resume")


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
        click.option(
            "--scorer", metavar="NAME", help="Another scorer than the benchmark's, by name."
        ),
        click.option("--output", metavar="FOLDER", help="Where the run goes; by default in runs/."),
        click.option(
            "--resume", is_flag=True, help="Go on with the run in --output, if there is one."
        ),
        click.option(
            "--no-cache", is_flag=True, help="Make every draw anew; neither find nor keep any."
        ),
    )

    @functools.wraps(function)
    def with_measuring(
        models: Sequence[str], output: str | None, no_cache: bool, **options: Any
    ) -> Any:
        chosen = {name: options.pop(name) for name in _TAKEN_AS_THEY_ARE}
        if chosen["resume"] and not output:
            raise UsageError("--resume needs --output, which names the folder of the run")
        measuring = Measuring(
            models=models_by_role(models),
            output=Path(output) if output else None,
            cache=not no_cache,
            **chosen,
        )
        return function(measuring=measuring, **options)

    for option in reversed(options):
        with_measuring = option(with_measuring)
    return with_measuring


@dataclass(frozen=True)
class Work:
    """An evaluation, the folder that it goes into, and what people see it called."""

    evaluation: Evaluation
    folder: RunFolder
    title: str


def measure(works: Sequence[Work], lms: Sequence[LazyLM], *, cache: bool = True) -> None:
    """Evaluate one after another what is not finished, and show how it goes.

    The models are made ready once, before the first question. An interrupt leaves what is finished
    in the folders. ``cache`` puts the pool of draws under all of them.
    """
    from archon.cli.live import followed
    from archon.cli.weights import open_all
    from archon.evals.runner import DEFAULT_CONCURRENT_QUESTIONS, evaluate
    from archon.lm.pool import DrawPool

    left = [work for work in works if not work.evaluation.is_finished_in(work.folder)]
    if not left:
        return
    open_all(lms)

    async def evaluate_all(pool: DrawPool | None) -> None:
        try:
            for work in left:
                num_runs = len(work.evaluation.items) * work.evaluation.epochs
                following = followed(work.title, num_runs, lms, DEFAULT_CONCURRENT_QUESTIONS)
                async with following as on_progress:
                    await evaluate(work.evaluation, work.folder, pool=pool, on_progress=on_progress)
        finally:
            for lm in lms:
                await lm.aclose()

    with DrawPool() if cache else contextlib.nullcontext() as pool:
        asyncio.run(evaluate_all(pool))


def accuracy_text(report: dict[str, Any]) -> str:
    """Accuracy and its 95 % interval."""
    return with_interval(report["accuracy"], report["accuracy_interval"])
