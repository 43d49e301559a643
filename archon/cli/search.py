"""``archon search``: the best architecture of a space on a benchmark, and the evidence for it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import click

from archon.cli.console import console, emit, p_text, points, with_interval
from archon.cli.exits import FAILED
from archon.cli.options import (
    command,
    models_by_role,
    models_option,
    output_file,
    seed_option,
)
from archon.errors import UsageError, require
from archon.evals.rounding import decimal, percent

if TYPE_CHECKING:
    from archon.study.search_config import Plan


@command
@click.argument("space")
@click.argument("bench")
@models_option
@click.option("--trials", type=int, default=60, show_default=True, help="Architectures to try.")
@click.option(
    "--objective",
    default="accuracy",
    show_default=True,
    metavar="NAME,NAME",
    help="accuracy, tokens, seconds, or several; the first decides among the finalists.",
)
@click.option(
    "--sampler",
    default="tpe",
    show_default=True,
    help="tpe, gp, nsga2, random or exhaustive.",
)
@seed_option
@click.option(
    "--limit", type=int, default=100, show_default=True, help="Items that trials are asked."
)
@click.option(
    "--final-limit",
    type=int,
    default=200,
    show_default=True,
    help="Items of select and of test that the best are asked.",
)
@click.option(
    "--finalists",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="Trials that go on to select; 0 leaves select and test out.",
)
@click.option("--max-tokens", type=float, help="What an answer may cost, on average.")
@click.option("--max-calls", type=float, help="Calls that an answer may make, as expected.")
@click.option("--max-seconds", type=float, help="What an answer may take, on average.")
@click.option("--no-stopping", is_flag=True, help="Ask every trial all items, hopeless or not.")
@click.option(
    "--warm-start",
    metavar="ARCH",
    multiple=True,
    help="An architecture of the space to try first; may be given several times.",
)
@click.option("--data", metavar="PATH", help="A JSONL file in the place of the card's own source.")
@click.option("--scorer", metavar="NAME", help="Another scorer than the benchmark's, by name.")
@click.option(
    "--storage",
    metavar="URL",
    help="A database; by default a SQLite file in the study's folder, runs/STUDY. Several workers "
    "need one such as postgresql+psycopg://USER@HOST/NAME.",
)
@click.option("--study", metavar="NAME", help="Its name; by default a new one.")
@click.option("--resume", is_flag=True, help="Go on with the study in --study, if there is one.")
@click.option("--no-cache", is_flag=True, help="Make every draw anew; neither find nor keep any.")
@click.option("--output", metavar="FILE", help="The winner; by default best.json in the folder.")
def search(space: str, bench: str, as_json: bool, **given: Any) -> int:
    """Search the space SPACE for the architecture that is best on the benchmark BENCH.

    Trials are asked items of the search split, the best of them others (select), and the winner
    others again (test), beside plain voting at the same cost. The winner is an ordinary file.
    """
    from dataclasses import replace

    from archon.api_search import pool_for, prepare
    from archon.cli.search_display import SearchDisplay
    from archon.cli.weights import open_all
    from archon.study.objectives import Limits, parse_objectives
    from archon.study.samplers import make_sampler
    from archon.study.search_config import Plan
    from archon.study.space import Space

    if given["resume"] and not given["study"]:
        raise UsageError("--resume needs --study, which names the study")
    output = output_file(given["output"])
    optuna = require("optuna", "search")
    if not logging.getLogger().isEnabledFor(logging.INFO):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
    plan = Plan(
        parse_objectives(given["objective"]),
        Limits(given["max_tokens"], given["max_calls"], given["max_seconds"]),
        given["sampler"],
        given["seed"],
        given["trials"],
        not given["no_stopping"],
    )
    make_sampler(plan.sampler, plan.seed)  # a wrong name is told before anything is prepared
    with console().status("checking the space"):
        prepared = prepare(
            Space.load(space),
            bench,
            plan=plan,
            limit=given["limit"],
            final_limit=given["final_limit"],
            models=models_by_role(given["models"]),
            data=given["data"],
            scorer=given["scorer"],
            study=given["study"],
            storage=given["storage"],
        )
        known = [prepared.known(ref) for ref in given["warm_start"]]
    session = prepared.session
    shown = SearchDisplay(plan)
    with shown, pool_for(plan, cache=not given["no_cache"]) as pool:

        def open_models() -> None:
            with shown.paused():  # pulling and loading have displays of their own
                open_all(prepared.loader.lms)

        session = replace(
            session,
            resume=given["resume"],
            warm_start=known,
            num_finalists=given["finalists"],
            output=output,
            pool=pool,
            before_trials=open_models,
            on_event=shown.event,
            on_progress=shown.progress,
            on_run=shown.run,
        )

        async def run() -> dict[str, Any]:
            try:
                return (await session.run()).to_json()
            finally:
                for lm in prepared.loader.lms:
                    await lm.aclose()

        try:
            result = asyncio.run(run())
        except KeyboardInterrupt:
            console().print(
                f"what is finished is kept; go on with: --study {session.name} --resume",
                soft_wrap=True,
            )
            raise
    if as_json:
        emit(result)
    _tell(result, plan)
    return 0 if result["best"] is not None else FAILED


def _tell(result: dict[str, Any], plan: Plan) -> None:
    def say(text: str, style: str | None = None) -> None:
        console().print(text, style=style, soft_wrap=True)

    counts = [f"{result[f'num_{what}']} {what}" for what in ("stopped", "rejected", "failed")]
    say(f"study {result['study']}: {result['num_trials']} trials, {', '.join(counts)}", "bold")
    tokens = result["trials_tokens"]
    say(
        f"the trials decoded {tokens['generated']:,} tokens; without the pool they would have "
        f"decoded {tokens['without_pool']:,}, and run whole {tokens['without_pool_and_stopping']:,}"
    )
    if result["best"] is not None:
        from archon.cli.search_display import front_table

        console().print(front_table(result["front"]))
        _tell_winner(result, say)
    for warning in result["warnings"]:
        say(warning, "yellow")
    if result["output"]:
        say(f"architecture: {result['output']}")
    if result["num_trials"]:
        say(f"all of it as a page: {_view_command(result)}")


def _view_command(result: dict[str, Any]) -> str:
    """The command that shows the study."""
    from archon.study.storage import DATABASE, sqlite_url, study_folder

    folder = study_folder(result["study"])
    if result["storage"] == sqlite_url(folder / DATABASE):
        return f"archon view {folder}"
    return f"archon view {result['storage']} --study {result['study']}"


def _tell_winner(result: dict[str, Any], say: Any) -> None:
    best = result["best"]
    choices = ", ".join(f"{name} = {value}" for name, value in best["choices"].items())
    say(f"\nthe winner is trial {best['trial']}: {choices}", "bold")
    found = result["search"]
    say(f"search {percent(found['accuracy'])} % of {found['num_items']} items (chosen by these)")
    for split in ("select", "test"):
        report = result[split]
        if report is not None:
            told = with_interval(report["accuracy"], report["accuracy_interval"])
            say(f"{split} {told}, {report['num_items']} items")
    row = result["equal_cost"]
    if row is not None and row["difference"] is not None:
        say(
            f"test, against a vote over {row['drafts']} drafts at equal cost "
            f"({decimal(row['cost_tokens'])} and {decimal(row['vote_cost_tokens'])} tokens an "
            "answer): "
            f"{points(row['difference'], row['interval'])} points, p {p_text(row['p_value'])}"
        )
