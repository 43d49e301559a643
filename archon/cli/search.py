"""``archon search``: find the best architecture of a space on a benchmark."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from archon.cli.console import console, emit, p_text, points, print_line, with_interval
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
    click.option("--trials", type=int, default=60, show_default=True, help="Architectures to try."),
    click.option(
        "--objective",
        default="accuracy",
        show_default=True,
        metavar="NAME,NAME",
        help="accuracy, tokens, seconds, or several; the first decides among the finalists.",
    ),
    click.option(
        "--sampler",
        default="tpe",
        show_default=True,
        help="tpe, gp, nsga2, random or exhaustive.",
    ),
    seed_option,
    click.option(
        "--limit", type=int, default=100, show_default=True, help="Items that trials are asked."
    ),
    click.option(
        "--final-limit",
        type=int,
        default=200,
        show_default=True,
        help="Items of select and of test that the best are asked.",
    ),
    click.option(
        "--finalists",
        type=click.IntRange(min=0),
        default=5,
        show_default=True,
        help="Trials that go on to select; 0 leaves select and test out.",
    ),
    click.option("--max-tokens", type=float, help="What an answer may cost, on average."),
    click.option("--max-calls", type=float, help="Calls that an answer may make, as expected."),
    click.option("--max-seconds", type=float, help="What an answer may take, on average."),
    click.option("--no-stopping", is_flag=True, help="Ask every trial all items, hopeless or not."),
    click.option(
        "--warm-start",
        metavar="ARCH",
        multiple=True,
        help="An architecture of the space to try first; may be given several times.",
    ),
    data_option,
    scorer_option,
    click.option(
        "--storage",
        metavar="URL",
        help="A database; by default a SQLite file in the study's folder, runs/STUDY. Several "
        "workers need one such as postgresql+psycopg://USER@HOST/NAME.",
    ),
    click.option("--study", metavar="NAME", help="Its name; by default a new one."),
    click.option(
        "--resume", is_flag=True, help="Go on with the study in --study, if there is one."
    ),
    no_cache_option,
    click.option(
        "--output", metavar="FILE", help="The winner; by default best.json in the folder."
    ),
)


def _search_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a search to a command, which gets them as ``config``."""

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
    """Search the space SPACE for the architecture that is best on the benchmark BENCH.

    Trials are asked items of the search split, the best of them others (select), and the winner
    others again (test), beside plain voting at the same cost. The winner is an ordinary file.
    """
    from archon.api import prepare_search

    with console().status("checking the space"):
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
            print_line(f"what is finished is kept; go on with: --study {session.name} --resume")
            raise


def _print(result: dict[str, Any]) -> None:
    counts = [f"{result[f'num_{what}']} {what}" for what in ("stopped", "rejected", "failed")]
    summary = f"study {result['study']}: {result['num_trials']} trials, {', '.join(counts)}"
    print_line(summary, "bold")
    tokens = result["trials_tokens"]
    print_line(
        f"the trials decoded {tokens['generated']:,} tokens; without the pool they would have "
        f"decoded {tokens['without_pool']:,}, and run whole {tokens['without_pool_and_stopping']:,}"
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
        print_line(f"all of it as a page: {_view_command(result)}")


def _view_command(result: dict[str, Any]) -> str:
    from archon.study.storage import DATABASE, sqlite_url, study_folder

    folder = study_folder(result["study"])
    if result["storage"] == sqlite_url(folder / DATABASE):
        return f"archon view {folder}"
    return f"archon view {result['storage']} --study {result['study']}"


def _print_winner(result: dict[str, Any]) -> None:
    best, trial = result["best"], result["search"]
    choices = ", ".join(f"{name} = {value}" for name, value in best["choices"].items())
    print_line(f"\nthe winner is trial {best['trial']}: {choices}", "bold")
    items = f"{trial['num_items']} items (chosen by these)"
    print_line(f"search {percent(trial['accuracy'])} % of {items}")
    for split in ("select", "test"):
        report = result[split]
        if report is not None:
            accuracy = with_interval(report["accuracy"], report["accuracy_interval"])
            print_line(f"{split} {accuracy}, {report['num_items']} items")
    row = result["equal_cost"]
    if row is not None and row["difference"] is not None:
        print_line(
            f"test, against a vote over {row['drafts']} drafts at equal cost "
            f"({decimal(row['cost_tokens'])} and {decimal(row['vote_cost_tokens'])} tokens an "
            "answer): "
            f"{points(row['difference'], row['interval'])} points, p {p_text(row['p_value'])}"
        )
