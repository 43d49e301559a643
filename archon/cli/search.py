"""``archon search``: find the best architecture of a space on a benchmark."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from archon.cli.console import (
    console,
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
    command,
    data_option,
    models_by_role,
    models_option,
    no_cache_option,
    output_file,
    require_optuna,
    scorer_option,
    seed_option,
)
from archon.errors import UsageError
from archon.evals.rounding import decimal, percent

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
        help="Run N trials, counted over all workers and sessions.",
    ),
    click.option(
        "--objective",
        default="accuracy",
        show_default=True,
        metavar="NAME,...",
        help="Optimize accuracy, tokens, seconds, or several; the first ranks the finalists.",
    ),
    click.option(
        "--sampler",
        default="tpe",
        show_default=True,
        metavar="NAME",
        help="Choose configurations with tpe, gp, nsga2, random or exhaustive.",
    ),
    seed_option,
    click.option(
        "--limit",
        type=int,
        default=100,
        show_default=True,
        metavar="N",
        help="Run trials on the first N items of the split search.",
    ),
    click.option(
        "--final-limit",
        type=int,
        default=200,
        show_default=True,
        metavar="N",
        help="Run finalists on the first N items of the splits select and test.",
    ),
    click.option(
        "--finalists",
        type=click.IntRange(min=0),
        default=5,
        show_default=True,
        metavar="N",
        help="Measure the N best trials on the split select; 0 skips select and test.",
    ),
    click.option(
        "--max-tokens", type=float, metavar="N", help="Limit the mean tokens per answer to N."
    ),
    click.option(
        "--max-calls", type=float, metavar="N", help="Limit the expected calls per answer to N."
    ),
    click.option(
        "--max-seconds", type=float, metavar="N", help="Limit the mean seconds per answer to N."
    ),
    click.option(
        "--no-stopping",
        is_flag=True,
        help="Run every trial on all items; do not stop hopeless ones early.",
    ),
    click.option(
        "--warm-start",
        metavar="ARCH",
        multiple=True,
        help="Try this architecture of the space first; may be repeated.",
    ),
    data_option,
    scorer_option,
    click.option(
        "--storage",
        metavar="URL",
        help="Store the study in this database; by default in a SQLite file in the study's "
        "folder, runs/STUDY. Several workers need a database server, such as "
        "postgresql+psycopg://USER@HOST/NAME.",
    ),
    click.option(
        "--study", metavar="NAME", help="Name of the study; by default a new name is generated."
    ),
    click.option("--resume", is_flag=True, help="Resume the study in --study, if there is one."),
    no_cache_option,
    click.option(
        "--output",
        metavar="FILE",
        help="Write the winner to this file; by default to best.json in the study's folder.",
    ),
)


def _search_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a search to a command, which receives them as ``config``."""

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
            raise UsageError("--resume needs --study, which names the study")
        limits = {name: options.pop(f"max_{name}") for name in ("tokens", "calls", "seconds")}
        file = output_file(output)
        require_optuna()
        config = SearchConfig(
            objectives=parse_objectives(objective),
            limits=SearchLimits(**limits),
            stops_early=not no_stopping,
            models=models_by_role(models),
            cache=not no_cache,
            output=file,
            **options,
        )
        return function(config=config, **arguments)

    for option in reversed(_OPTIONS):
        with_config = option(with_config)
    return with_config


@command
@click.argument("space")
@click.argument("bench")
@_search_options
def search(space: str, bench: str, config: SearchConfig, as_json: bool) -> int:
    """Search a space for the best architecture.

    SPACE and BENCH are names in the catalogue or paths. Trials run on BENCH's split search and the
    best of them on select. The winner is compared on test with a plain vote at equal cost, and is
    written as an ordinary architecture file.
    """
    from archon.api import prepare_search

    with spinner("checking the space"):
        session, loader = prepare_search(space, bench, config)
    result = _run(session, loader)
    if as_json:
        emit(result)
    _print(result)
    return 0 if result["best"] is not None else FAILED


def _run(session: SearchSession, loader: Loader) -> dict[str, Any]:
    """Run a session with a display. After an interrupt, print the flags that resume it."""
    from archon.cli.search_display import SearchDisplay
    from archon.cli.weights import close_all, open_all
    from archon.study.search_config import SearchListeners

    display = SearchDisplay(session.config)

    def open_models() -> None:
        with display.paused():  # pulling and loading have their own displays
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
            print_line(f"finished trials are kept; resume with: --study {session.name} --resume")
            raise


def _print(result: dict[str, Any]) -> None:
    outcomes = ("stopped", "rejected", "failed")
    counts = [counted(result["num_trials"], "trial")]
    counts += [f"{result[f'num_{outcome}']} {outcome}" for outcome in outcomes]
    print_line(f"study {result['study']}: {', '.join(counts)}", "bold")
    tokens = result["trials_tokens"]
    print_line(
        f"tokens that the trials generated: {tokens['generated']:,}; without the sample pool: "
        f"{tokens['without_pool']:,}; also without early stopping: "
        f"{tokens['without_pool_and_stopping']:,}"
    )
    if result["best"] is not None:
        from archon.cli.search_display import front_table

        console().print(front_table(result["front"]))
        _print_winner(result)
    for warning in result["warnings"]:
        print_line(warning, "yellow")
    if result["output"]:
        print_line(f"architecture: {result['output']}")
    if result["num_trials"]:
        print_line(f"to view the study: {_view_command(result)}")


def _view_command(result: dict[str, Any]) -> str:
    from archon.study.storage import DATABASE, sqlite_url, study_folder

    folder = study_folder(result["study"])
    if result["storage"] == sqlite_url(folder / DATABASE):
        return f"archon view {folder}"
    return f"archon view {result['storage']} --study {result['study']}"


def _print_winner(result: dict[str, Any]) -> None:
    best, trial = result["best"], result["search"]
    choices = ", ".join(f"{name} = {value}" for name, value in best["choices"].items())
    print_line(f"\nwinner: trial {best['trial']}, {choices}", "bold")
    items = counted(trial["num_items"], "item")
    print_line(f"search {percent(trial['accuracy'])} % of {items} (used to choose the winner)")
    for split in ("select", "test"):
        report = result[split]
        if report is not None:
            accuracy = with_interval(report["accuracy"], report["accuracy_interval"])
            print_line(f"{split} {accuracy}, {counted(report['num_items'], 'item')}")
    row = result["equal_cost"]
    if row is not None and row["difference"] is not None:
        print_line(
            f"test, against a vote over {counted(row['drafts'], 'sample')} at equal cost "
            f"({decimal(row['cost_tokens'])} and {decimal(row['vote_cost_tokens'])} tokens per "
            f"answer): {points(row['difference'], row['interval'])} points, "
            f"p {p_text(row['p_value'])}"
        )
