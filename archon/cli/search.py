"""``archon search``: find the best architecture of a space on a benchmark."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from archon.cli import completers
from archon.cli.console import (
    ResultPrinter,
    counted,
    emit,
    p_text,
    points,
    print_line,
    spinner,
    with_interval,
)
from archon.cli.exits import FAILED
from archon.cli.options import (
    COLUMN_OPTIONS,
    columns_of,
    command,
    data_option,
    models_by_role,
    models_option,
    no_cache_option,
    output_file,
    require_optuna,
    scorer_option,
    seed_option,
    tracing_options,
    track_option,
)
from archon.cli.stored_command import (
    STUDY_COMMAND,
    StoredCommand,
    resume_line,
    this_command,
)
from archon.errors import UsageError
from archon.evals.rounding import percent
from archon.storage.atomic import write_json

if TYPE_CHECKING:
    from archon.graph.loading import Loader
    from archon.study.search_config import SearchConfig
    from archon.study.session import SearchSession


_OPTIONS = (
    models_option,
    click.option(
        "--trials",
        type=int,
        default=60,
        show_default=True,
        metavar="N",
        help="Run N trials in total, across all workers and sessions.",
    ),
    click.option(
        "--objective",
        default="accuracy",
        show_default=True,
        metavar="NAME,...",
        help="Optimize accuracy, tokens, compute or seconds, or several of them. The first one "
        "ranks the finalists.",
    ),
    click.option(
        "--sampler",
        default="tpe",
        show_default=True,
        metavar="NAME",
        help="Sampler that proposes configurations: tpe, gp, nsga2, random or exhaustive.",
    ),
    seed_option("Random seed of the sampler and of the samples; does not change the items."),
    click.option(
        "--limit",
        type=int,
        default=100,
        show_default=True,
        metavar="N",
        help="Evaluate trials on the first N items of the `search` split.",
    ),
    click.option(
        "--final-limit",
        type=int,
        default=200,
        show_default=True,
        metavar="N",
        help="Evaluate finalists on the first N items of the `select` and `test` splits.",
    ),
    click.option(
        "--finalists",
        type=click.IntRange(min=0),
        default=5,
        show_default=True,
        metavar="N",
        help="Evaluate the N best trials on the `select` split. 0 skips the `select` and `test` "
        "splits.",
    ),
    click.option(
        "--max-tokens", type=float, metavar="N", help="Limit the mean cost per answer to N tokens."
    ),
    click.option(
        "--max-calls",
        type=float,
        metavar="N",
        help="Limit the expected number of model calls per answer to N.",
    ),
    click.option(
        "--max-seconds",
        type=float,
        metavar="N",
        help="Limit the mean time per answer to N seconds.",
    ),
    click.option(
        "--max-compute",
        type=float,
        metavar="N",
        help="Limit the mean compute per answer to N FLOPs, such as 2e12.",
    ),
    click.option(
        "--cost",
        type=click.Choice(["tokens", "compute", "seconds"]),
        default="tokens",
        show_default=True,
        help="Compare the winner with a plain vote of this cost.",
    ),
    click.option(
        "--no-stopping",
        is_flag=True,
        help="Run every trial to the last item; do not stop unpromising trials early.",
    ),
    click.option(
        "--warm-start",
        metavar="ARCH",
        shell_complete=completers.names("architecture"),
        multiple=True,
        help="Try this architecture, which must be in the space, first. Can be repeated.",
    ),
    data_option,
    *COLUMN_OPTIONS,
    scorer_option,
    click.option(
        "--storage",
        metavar="URL",
        help="Database for the study; by default the SQLite file runs/STUDY/study.db. Several "
        "workers need a database server, for example postgresql+psycopg://USER@HOST/NAME.",
    ),
    click.option("--study", metavar="NAME", help="Name of the study; by default a generated name."),
    click.option(
        "--resume",
        is_flag=True,
        help="Resume the study named by --study, if it exists.",
    ),
    no_cache_option,
    click.option(
        "--output",
        metavar="FILE",
        shell_complete=completers.files,
        help="File for the best architecture; by default runs/STUDY/best.json.",
    ),
    track_option,
    tracing_options,
)


def _search_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the search options to a command.

    The command receives them in a single ``config`` argument of type ``SearchConfig``.
    """

    @functools.wraps(function)
    def with_config(
        models: Sequence[str],
        objective: str,
        no_stopping: bool,
        no_cache: bool,
        output: str | None,
        **options: Any,
    ) -> Any:
        from archon.study.objectives import SearchLimits, parse_objectives
        from archon.study.search_config import SearchConfig

        arguments = {name: options.pop(name) for name in ("space", "bench", "as_json")}
        if options["resume"] and not options["study"]:
            raise UsageError("--resume needs the name of the study; add --study NAME")
        limits = {name: options.pop(f"max_{name}") for name in SearchLimits.__slots__}
        columns = columns_of(options)
        file = output_file(output)
        require_optuna()
        config = SearchConfig(
            objectives=parse_objectives(objective),
            limits=SearchLimits(**limits),
            stops_early=not no_stopping,
            models=models_by_role(models),
            columns=columns,
            cache=not no_cache,
            output=file,
            **options,
        )
        return function(config=config, **arguments)

    for option in reversed(_OPTIONS):
        with_config = option(with_config)
    return with_config


@command
@click.argument("space", shell_complete=completers.names("space"))
@click.argument("bench", shell_complete=completers.names("benchmark"))
@_search_options
def search(space: str, bench: str, config: SearchConfig, as_json: bool) -> int:
    """Find the best architecture in a search space.

    SPACE and BENCH are catalogue names or paths; BENCH can also be your own data, as in `archon
    eval`. Trials run on BENCH's `search` split, and the best ones on `select`. On `test`, the
    winner is compared with a plain vote at equal cost; it is also saved as an architecture file.
    """
    from archon.api import prepare_search

    with spinner("checking the space"):
        session, loader = prepare_search(space, bench, config)
    for note in session.splits["search"].benchmark.notes:
        print_line(note, "dim")
    result = _run(session, loader, _command(session))
    if as_json:
        emit(result)
    _print(result, ResultPrinter(as_json))
    return 0 if result["best"] is not None else FAILED


def _command(session: SearchSession) -> StoredCommand | None:
    """Return the command for ``archon resume``; None if the storage's URL has a password."""
    from archon.study.storage import public_url

    if session.config.storage and public_url(session.config.storage) != session.config.storage:
        return None
    stored = this_command("search", without=["study", "resume"])
    stored["arguments"].insert(0, f"--study={session.name}")
    return stored


def _run(session: SearchSession, loader: Loader, stored: StoredCommand | None) -> dict[str, Any]:
    """Run a search with a live display; if the user interrupts, print how to resume it."""
    from archon.cli.search_display import SearchDisplay
    from archon.cli.weights import close_all, open_all
    from archon.study.search_config import SearchListeners

    display = SearchDisplay(session.config)

    def open_models() -> None:
        if stored is not None:
            write_json(session.folder / STUDY_COMMAND, stored)
        with display.paused():  # downloads and loading have separate displays
            open_all(loader.lms)

    session.listeners = SearchListeners(
        before_trials=open_models,
        on_event=display.on_event,
        on_progress=display.on_progress,
        on_run=display.on_run,
    )

    async def run() -> dict[str, Any]:
        try:
            return (await session.run()).to_json()
        finally:
            await close_all(loader.lms)

    with display:
        try:
            return asyncio.run(run())
        except KeyboardInterrupt:
            again = f"--study {session.name} --resume with the same options"
            if stored is not None:
                again = resume_line(session.folder)
            print_line(f"finished trials are kept; to continue: {again}")
            raise


def _print(result: dict[str, Any], out: ResultPrinter) -> None:
    outcomes = ("stopped", "rejected", "failed")
    counts = [counted(result["num_trials"], "trial")]
    counts += [f"{result[f'num_{outcome}']} {outcome}" for outcome in outcomes]
    out.line(f"study {result['study']}: {', '.join(counts)}", "bold")
    tokens = result["trials_tokens"]
    out.line(
        f"tokens generated by the trials: {tokens['generated']:,}; without the sample pool: "
        f"{tokens['without_pool']:,}; also without early stopping: "
        f"{tokens['without_pool_and_stopping']:,}"
    )
    if result["best"] is not None:
        from archon.cli.search_display import front_table

        out.table(front_table(result["front"]))
        _print_winner(result, out)
    for warning in result["warnings"]:
        print_line(warning, "yellow")
    if result["output"]:
        out.line(f"architecture: {result['output']}")
    if result["num_trials"]:
        out.line(f"to view the study: {_view_command(result)}")


def _view_command(result: dict[str, Any]) -> str:
    from archon.study.storage import DATABASE, sqlite_url, study_folder

    folder = study_folder(result["study"])
    if result["storage"] == sqlite_url(folder / DATABASE):
        return f"archon view {folder}"
    return f"archon view {result['storage']} --study {result['study']}"


def _print_winner(result: dict[str, Any], out: ResultPrinter) -> None:
    from archon.evals.costs import cost_text

    best, trial = result["best"], result["search"]
    choices = ", ".join(f"{name} = {value}" for name, value in best["choices"].items())
    out.line(f"\nwinner: trial {best['trial']}, {choices}", "bold")
    items = counted(trial["num_items"], "item")
    out.line(f"search {percent(trial['accuracy'])}% of {items} (used to choose the winner)")
    for split in ("select", "test"):
        report = result[split]
        if report is not None:
            accuracy = with_interval(report["accuracy"], report["accuracy_interval"])
            out.line(f"{split} {accuracy}, {counted(report['num_items'], 'item')}")
    row = result["equal_cost"]
    if row is not None and row["difference"] is not None:
        row = {"cost": "tokens", "amount": row["cost_tokens"], **row}  # of an earlier version
        row = {"vote_amount": row["vote_cost_tokens"], **row}
        out.line(
            f"test, against a vote over {counted(row['drafts'], 'sample')} at equal cost "
            f"({cost_text(row['amount'], row['cost'])} and "
            f"{cost_text(row['vote_amount'], row['cost'])} per answer): "
            f"{points(row['difference'], row['interval'])} points, "
            f"p {p_text(row['p_value'])}"
        )
