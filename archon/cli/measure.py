"""What ``eval`` and ``compare`` share: their options, their progress, and one evaluation."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archon.cli.console import with_interval
from archon.cli.options import models_by_role, models_option, seed_option
from archon.errors import TooManyErrorsError, UsageError
from archon.evals.failures import causes_text, parse_max_errors
from archon.evals.rounding import decimal

if TYPE_CHECKING:
    from archon.api import Benchmark
    from archon.evals.failures import MaxErrors
    from archon.evals.folder import RunFolder
    from archon.evals.runner import Evaluation
    from archon.graph.architecture import Architecture
    from archon.lm.lazy import LazyLM


@dataclass(frozen=True)
class EvalOptions:
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
    keep_errors: bool
    max_errors: MaxErrors
    cache: bool

    def benchmark(self, ref: str) -> Benchmark:
        """The items of a benchmark that are to be asked."""
        from archon.api import benchmark

        return benchmark(
            ref, split=self.split, limit=self.limit, data=self.data, scorer=self.scorer
        )

    def evaluation(self, architecture: Architecture, items: Benchmark) -> Evaluation:
        """Everything that is to be asked of an architecture."""
        from archon.evals.runner import Evaluation

        return Evaluation.of(architecture, items, seed=self.seed, epochs=self.epochs)

    def measure(self, works: Sequence[Work], lms: Sequence[LazyLM]) -> None:
        """Evaluate; see ``measure``."""
        measure(
            works,
            lms,
            keep_errors=self.keep_errors,
            max_errors=self.max_errors,
            cache=self.cache,
        )


_TAKEN_AS_THEY_ARE = ("limit", "seed", "epochs", "split", "data", "scorer", "resume", "keep_errors")


_OPTIONS = (
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
    click.option("--split", default="select", show_default=True, help="search, select or test."),
    click.option(
        "--data", metavar="PATH", help="A JSONL file in the place of the card's own source."
    ),
    click.option("--scorer", metavar="NAME", help="Another scorer than the benchmark's, by name."),
    click.option("--output", metavar="FOLDER", help="Where the run goes; by default in runs/."),
    click.option(
        "--resume",
        is_flag=True,
        help="Continue the run in --output, if there is one; what failed is asked again.",
    ),
    click.option(
        "--keep-errors", is_flag=True, help="With --resume, do not ask failed items again."
    ),
    click.option(
        "--max-errors",
        metavar="N|SHARE",
        help="Stop when more answers than this fail: a number such as 20, or a share such as "
        "0.1 or 10%; 0 stops at the first failure, 100% never. By default, stop after 10 "
        "failures of one cause without a success between.",
    ),
    click.option(
        "--no-cache", is_flag=True, help="Make every draw anew; neither find nor keep any."
    ),
)


def eval_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a ``EvalOptions``, which the command takes as ``measuring``."""

    @functools.wraps(function)
    def with_options(
        models: Sequence[str],
        output: str | None,
        max_errors: str | None,
        no_cache: bool,
        **options: Any,
    ) -> Any:
        chosen = {name: options.pop(name) for name in _TAKEN_AS_THEY_ARE}
        if chosen["resume"] and not output:
            raise UsageError("--resume needs --output, which names the folder of the run")
        measuring = EvalOptions(
            models=models_by_role(models),
            output=Path(output) if output else None,
            max_errors=None if max_errors is None else parse_max_errors(max_errors),
            cache=not no_cache,
            **chosen,
        )
        return function(measuring=measuring, **options)

    for option in reversed(_OPTIONS):
        with_options = option(with_options)
    return with_options


@dataclass(frozen=True)
class Work:
    """An evaluation, the folder that it goes into, and what people see it called."""

    evaluation: Evaluation
    folder: RunFolder
    title: str


def measure(
    works: Sequence[Work],
    lms: Sequence[LazyLM],
    *,
    keep_errors: bool = False,
    max_errors: MaxErrors = None,
    cache: bool = True,
) -> None:
    """Evaluate one after another what is not finished, and show how it goes.

    The models are made ready once, before the first question. An interrupt leaves what is finished
    in the folders. ``cache`` puts the pool of draws under all of them; see ``runner.evaluate`` for
    the rest.

    Raises
    ------
    TooManyErrorsError
        Too many answers failed.
    """
    from archon.cli.live import followed
    from archon.cli.weights import open_all
    from archon.evals.runner import DEFAULT_CONCURRENT_QUESTIONS, evaluate
    from archon.lm.pool import DrawPool

    left = [
        work
        for work in works
        if not work.evaluation.is_finished_in(work.folder, keep_errors=keep_errors)
    ]
    if not left:
        return
    open_all(lms)

    async def evaluate_all(pool: DrawPool | None) -> None:
        try:
            for work in left:
                num_runs = len(work.evaluation.items) * work.evaluation.epochs
                following = followed(work.title, num_runs, lms, DEFAULT_CONCURRENT_QUESTIONS)
                async with following as on_progress:
                    try:
                        await evaluate(
                            work.evaluation,
                            work.folder,
                            pool=pool,
                            keep_errors=keep_errors,
                            max_errors=max_errors,
                            on_progress=on_progress,
                        )
                    except TooManyErrorsError as error:
                        kept = f"{work.folder.path} keeps the finished answers"
                        raise TooManyErrorsError(
                            f"{work.title}: {error.reason}; {kept}, --resume continues",
                            cause=error.cause,
                        ) from error
        finally:
            for lm in lms:
                await lm.aclose()

    with DrawPool() if cache else contextlib.nullcontext() as pool:
        asyncio.run(evaluate_all(pool))


def accuracy_text(report: dict[str, Any]) -> str:
    """Accuracy and its 95 % interval."""
    return with_interval(report["accuracy"], report["accuracy_interval"])


def has_partial_scores(report: dict[str, Any]) -> bool:
    """Whether the mean score says anything that the accuracy does not."""
    return bool(report["mean_score"] != report["accuracy"])


def mean_score_text(report: dict[str, Any]) -> str:
    """Mean score and its 95 % interval."""
    if report["mean_score"] is None:
        return "–"
    low, high = report["mean_score_interval"]
    return f"{decimal(report['mean_score'], 3)} [{decimal(low, 3)}, {decimal(high, 3)}]"


_STATES = {"number": "state no number", "text": "state no answer", "code": "hold no program"}


def answers_lines(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is the matter with the answers of a run, each line with its style."""
    total = report["num_runs"]
    if report["num_without_value"]:
        counted = f"{report['num_without_value']} of {total} answers"
        yield f"{counted} {_STATES.get(report['answer'], 'state no value')}", "yellow"
    if report["num_limited"]:
        yield f"{report['num_limited']} answers were cut short by the budget", "yellow"
    if report["num_errors"]:
        yield f"{report['num_errors']} of {total} failed: {causes_text(report['errors'])}", "red"
