"""Options, evaluation loop and report texts that ``eval`` and ``compare`` share."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archon.answers.kinds import ANSWER_TYPES
from archon.cli import completers
from archon.cli.console import print_line, with_interval
from archon.cli.options import (
    COLUMN_OPTIONS,
    changes_options,
    code_option,
    columns_of,
    data_option,
    models_by_role,
    models_option,
    no_cache_option,
    scorer_option,
    seed_option,
    tracing_options,
    track_option,
)
from archon.cli.stored_command import resume_line
from archon.errors import TooManyErrorsError, UsageError
from archon.evals.failures import causes_text, parse_max_errors
from archon.evals.rounding import decimal

if TYPE_CHECKING:
    from archon.api import Benchmark
    from archon.evals.benchmarks.columns import Columns
    from archon.evals.failures import MaxErrors
    from archon.evals.folder import RunFolder
    from archon.evals.runner import Evaluation
    from archon.graph.architecture import Architecture
    from archon.lm.lazy import LazyLM
    from archon.spec.changes import Changes
    from archon.tracking.session import TrackerChoice


@dataclass(frozen=True)
class Selection:
    """Options that select the items and the random seed of an evaluation."""

    split: str
    limit: int | None
    data: str | None
    scorer: tuple[str, ...]
    """The scorers to use; empty for the benchmark's."""
    allow_code_execution: bool
    by: tuple[str, ...]
    """Columns by which the report groups the items; empty for the benchmark's."""
    seed: int
    epochs: int
    columns: Columns

    def benchmark(self, ref: str) -> Benchmark:
        """Load the selected items of a benchmark, and print notes on the user's own data."""
        from archon.api import benchmark

        opened = benchmark(
            ref,
            split=self.split,
            limit=self.limit,
            data=self.data,
            scorer=self.scorer,
            allow_code_execution=self.allow_code_execution,
            **asdict(self.columns),
        )
        for note in opened.notes:
            print_line(note, "dim")
        return opened

    def evaluation(self, architecture: Architecture, items: Benchmark) -> Evaluation:
        """Return an evaluation of the architecture on these items, without running it."""
        from archon.evals.runner import Evaluation

        by = self.by or None
        return Evaluation.of(architecture, items, seed=self.seed, epochs=self.epochs, by=by)


@dataclass(frozen=True)
class RunPolicy:
    """Policy for failed items and stored samples; see ``archon.evals.runner.evaluate``."""

    keep_errors: bool = False
    max_errors: MaxErrors = None
    cache: bool = True
    """Whether to reuse stored samples and to store new ones."""
    track: TrackerChoice | None = None
    """The experiment tracker that records the runs."""


@dataclass(frozen=True)
class EvalOptions:
    """Parsed values of the options added by ``eval_options``."""

    models: dict[str, Any]
    changes: Changes
    selection: Selection
    policy: RunPolicy
    output: Path | None
    resume: bool


_OPTIONS = (
    models_option,
    changes_options,
    click.option(
        "--limit",
        type=int,
        metavar="N",
        help="Use only the first N items of the split; by default all. With --resume, a higher "
        "limit asks only the new items.",
    ),
    seed_option("Random seed for sampling; does not change which items are used."),
    click.option(
        "--epochs",
        type=int,
        default=1,
        show_default=True,
        metavar="N",
        help="Ask each item N times, with new samples each time.",
    ),
    click.option(
        "--split",
        default="select",
        show_default=True,
        metavar="NAME",
        help="Use this split of the benchmark: search, select or test; or all of its items: all.",
    ),
    data_option,
    *COLUMN_OPTIONS,
    scorer_option,
    code_option,
    click.option(
        "--by",
        metavar="COLUMN",
        multiple=True,
        help="Also report the accuracy of each group of items with the same value in this column "
        "of the rows, such as a subject; may be repeated.",
    ),
    click.option(
        "--output",
        metavar="FOLDER",
        shell_complete=completers.folders,
        help="Folder for the results; by default a new folder in runs/.",
    ),
    click.option(
        "--resume",
        is_flag=True,
        help="Resume the run in --output, if it exists, and retry failed items.",
    ),
    click.option("--keep-errors", is_flag=True, help="With --resume, do not retry failed items."),
    click.option(
        "--max-errors",
        metavar="N|SHARE",
        help="Stop when more answers fail than this limit: a number such as 20, or a share of all "
        "answers such as 0.1 or 10%. 0 stops at the first failure; 100% never stops. By default, "
        "stop after 10 consecutive failures with the same cause.",
    ),
    no_cache_option,
    track_option,
    tracing_options,
)


def eval_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the evaluation options to a command.

    The command receives them in a single ``options`` argument of type ``EvalOptions``.
    """

    @functools.wraps(function)
    def with_options(
        models: Sequence[str],
        changes: Changes,
        output: str | None,
        resume: bool,
        keep_errors: bool,
        max_errors: str | None,
        no_cache: bool,
        track: TrackerChoice | None,
        **others: Any,
    ) -> Any:
        if resume and not output:
            raise UsageError("--resume needs the folder of the run; add --output FOLDER")
        options = EvalOptions(
            models=models_by_role(models),
            changes=changes,
            selection=_selection(others),
            policy=RunPolicy(
                keep_errors=keep_errors,
                max_errors=None if max_errors is None else parse_max_errors(max_errors),
                cache=not no_cache,
                track=track,
            ),
            output=Path(output) if output else None,
            resume=resume,
        )
        return function(options=options, **others)

    for option in reversed(_OPTIONS):
        with_options = option(with_options)
    return with_options


def _selection(options: dict[str, Any]) -> Selection:
    """Remove the options of a selection from the options of a command, and return it."""
    columns = columns_of(options)
    names = [each.name for each in fields(Selection) if each.name != "columns"]
    return Selection(columns=columns, **{name: options.pop(name) for name in names})


@dataclass(frozen=True)
class Job:
    """An evaluation to run, with its output folder and the title of its progress display."""

    evaluation: Evaluation
    folder: RunFolder
    title: str
    command: Mapping[str, Any] = field(default_factory=dict)
    """Keys for ``run.json`` with the command that continues the run
    (``archon.cli.stored_command``)."""


def measure(jobs: Sequence[Job], lms: Sequence[LazyLM], policy: RunPolicy) -> None:
    """Run the unfinished jobs one after another, and display their progress.

    The models are opened before the first job and closed after the last. If the user interrupts,
    finished answers are kept in the folders.

    Raises
    ------
    TooManyErrorsError
        Too many answers failed.
    """
    from archon.cli.live import live_progress
    from archon.cli.weights import open_all
    from archon.evals.runner import DEFAULT_CONCURRENT_QUESTIONS
    from archon.evals.tracked import evaluate, record_finished
    from archon.lm.pool import DrawPool

    unfinished = [
        job
        for job in jobs
        if not job.evaluation.is_finished_in(job.folder, keep_errors=policy.keep_errors)
    ]
    for job in jobs:
        if policy.track is not None and job not in unfinished:
            record_finished(job.folder, policy.track)
    if not unfinished:
        return
    judges = [lm for job in unfinished for scorer in job.evaluation.scorers for lm in scorer.lms]
    lms = list(dict.fromkeys([*lms, *judges]))
    open_all(lms)

    async def evaluate_all(pool: DrawPool | None) -> None:
        try:
            for job in unfinished:
                num_runs = len(job.evaluation.items) * job.evaluation.epochs
                display = live_progress(job.title, num_runs, lms, DEFAULT_CONCURRENT_QUESTIONS)
                async with display as on_progress:
                    try:
                        await evaluate(
                            job.evaluation,
                            job.folder,
                            policy.track,
                            pool=pool,
                            keep_errors=policy.keep_errors,
                            max_errors=policy.max_errors,
                            on_progress=on_progress,
                            command=job.command,
                        )
                    except TooManyErrorsError as error:
                        raise TooManyErrorsError(
                            f"{job.title}: {error.reason}; the finished answers are kept, and "
                            f"{resume_line(job.folder.path)} continues the run",
                            cause=error.cause,
                        ) from error
        finally:
            for lm in lms:
                await lm.aclose()

    with DrawPool() if policy.cache else contextlib.nullcontext() as pool:
        asyncio.run(evaluate_all(pool))


def accuracy_text(report: dict[str, Any]) -> str:
    """Format the accuracy and its 95% interval."""
    return with_interval(report["accuracy"], report["accuracy_interval"])


def has_partial_scores(report: dict[str, Any]) -> bool:
    """Return True if there are partial scores, so the mean score differs from the accuracy."""
    return bool(report["mean_score"] != report["accuracy"])


def mean_score_text(report: dict[str, Any]) -> str:
    """Format the mean score and its 95% interval."""
    if report["mean_score"] is None:
        return "–"
    low, high = report["mean_score_interval"]
    return f"{decimal(report['mean_score'], 3)} [{decimal(low, 3)}, {decimal(high, 3)}]"


def problem_lines(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a line and its style for each problem, such as failures and exceeded budgets."""
    total = report["num_runs"]
    if report["num_without_value"]:
        verb = ANSWER_TYPES[report["answer"]].state_none
        yield f"{report['num_without_value']} of {total} answers {verb}", "yellow"
    if report["num_limited"]:
        yield f"{report['num_limited']} of {total} answers were cut short by the budget", "yellow"
    if report["num_errors"]:
        yield f"{report['num_errors']} of {total} failed: {causes_text(report['errors'])}", "red"
