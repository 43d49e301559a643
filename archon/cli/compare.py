"""``archon compare``: several architectures on the same items and the same draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from archon.cli.console import console, emit, p_text, points
from archon.cli.measure import (
    EvalOptions,
    Work,
    accuracy_text,
    answers_lines,
    eval_options,
    has_partial_scores,
    mean_score_text,
)
from archon.cli.options import command
from archon.errors import UsageError, require
from archon.evals.rounding import decimal, percent

if TYPE_CHECKING:
    from rich.table import Table

MOST_WARNINGS = 6
"""Pairs that are told to be too close to call; ``--json`` has all."""


@command
@click.argument("archs", nargs=-1, required=True, metavar="ARCH ARCH...")
@click.option("-b", "--benchmark", "bench", required=True, metavar="BENCH", help="The benchmark.")
@eval_options
def compare(archs: Sequence[str], bench: str, measuring: EvalOptions, as_json: bool) -> None:
    """Measure several architectures on the same items, with paired tests.

    --model changes the role wherever an architecture has it. --output names one folder for the
    whole comparison; it holds a run's folder for each architecture: 1-ARCH, 2-ARCH, ...
    """
    from archon.api import run_folder
    from archon.evals.comparison import compare as compared
    from archon.evals.equal_cost import equal_cost
    from archon.evals.folder import check_comparison_folder
    from archon.evals.run import read_run
    from archon.graph.loading import Loader

    if len(archs) < 2:
        raise UsageError("a comparison needs at least two architectures")
    require("scipy", "evals")
    loader = Loader()
    architectures = loader.architectures(archs, measuring.models)
    items = measuring.benchmark(bench)
    evaluations = [measuring.evaluation(architecture, items) for architecture in architectures]
    folders = [f"{number}-{one.name}" for number, one in enumerate(architectures, start=1)]
    if measuring.output is not None:
        check_comparison_folder(measuring.output, folders, resume=measuring.resume)
    works = []
    for number, evaluation in enumerate(evaluations, start=1):
        name = architectures[number - 1].name
        path = None if measuring.output is None else measuring.output / folders[number - 1]
        folder = run_folder(path, name, resume=measuring.resume)
        works.append(Work(evaluation, folder, f"{number} of {len(archs)}: {name}"))
    try:
        measuring.measure(works, loader.lms)
    finally:
        for work in works:
            work.folder.discard_unused()
    runs = [read_run(work.folder.path) for work in works]
    records = [run.records() for run in runs]
    result = compared([run.report().to_json() for run in runs], records)
    specs = [run.description["specification"]["architecture"] for run in runs]
    result["equal_cost"] = equal_cost([row["name"] for row in result["rows"]], specs, records)
    if as_json:
        emit(result)
    _tell(result)


def _tell(result: dict[str, Any]) -> None:
    def say(text: str, style: str | None = None) -> None:
        console().print(text, style=style, soft_wrap=True)

    console().print(_rows(result["rows"]))
    say("* no other is as accurate at a lower cost, or in less time\n", "dim")
    console().print(_pairs(result["pairs"]))
    if any(map(has_partial_scores, result["rows"])):
        say("\nby mean score, partial scores included:", "dim")
        console().print(_pairs(result["pairs"], by_mean_score=True))
    if result["equal_cost"]:
        say("\nat equal cost, against a plain vote over drafts of the same run:", "dim")
        console().print(_equal_cost(result["equal_cost"]))
    say("")
    for warning in result["warnings"][:MOST_WARNINGS]:
        say(warning, "yellow")
    left = len(result["warnings"]) - MOST_WARNINGS
    if left > 0:
        say(f"{left} more pairs are not told apart", "yellow")
    for row in result["rows"]:
        for line, style in answers_lines(row):
            say(f"{row['name']}: {line}", style)
    for row in result["rows"]:
        say(f"run of {row['name']}: {row['run']}")


def _rows(rows: Sequence[dict[str, Any]]) -> Table:
    from rich.table import Table

    from archon.evals.report import TABLE_COLUMNS

    table = Table(box=None, pad_edge=False)
    table.add_column("architecture", overflow="fold")
    table.add_column("accuracy [95 %]", no_wrap=True)
    is_partial = any(map(has_partial_scores, rows))
    if is_partial:
        table.add_column("mean score [95 %]", no_wrap=True)
    for heading, _ in TABLE_COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["name"],
            accuracy_text(row),
            *([mean_score_text(row)] if is_partial else []),
            *(_cell(row, name, decimals) for name, (_, decimals) in TABLE_COLUMNS.items()),
        )
    return table


def _cell(row: dict[str, Any], column: str, decimals: int) -> str:
    """A number, with a star where it lies on its front."""
    from archon.evals.comparison import FRONTS

    shown = "–" if row[column] is None else decimal(row[column], decimals)
    on_front = row.get(FRONTS.get(column, ""))
    return shown if on_front is None else f"{shown} {'*' if on_front else ' '}"


def _pairs(pairs: Sequence[dict[str, Any]], *, by_mean_score: bool = False) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("a", "b"):
        table.add_column(name, overflow="fold")
    table.add_column("a - b, points [95 %]", no_wrap=True)
    table.add_column("p", no_wrap=True)
    several = len(pairs) > 1 and not by_mean_score
    if several:
        table.add_column("p (Holm)", no_wrap=True)
    for pair in pairs:
        kind = "mean_score_" if by_mean_score else ""
        difference = points(pair[f"{kind}difference"], pair[f"{kind}interval"])
        p_values = [pair[f"{kind}p_value"]] + [pair["p_value_adjusted"]] * several
        table.add_row(pair["a"], pair["b"], difference, *map(p_text, p_values))
    return table


def _equal_cost(rows: Sequence[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("architecture", overflow="fold")
    table.add_column("cost", justify="right", no_wrap=True)
    for name in ("drafts, their cost", "vote", "difference [95 %]", "p"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(
            row["name"],
            decimal(row["cost_tokens"]),
            f"{'' if row['is_enough'] else 'all '}{row['drafts']}, "
            f"{decimal(row['vote_cost_tokens'])}",
            f"{percent(row['vote_accuracy'])} %",
            points(row["difference"], row["interval"]),
            p_text(row["p_value"]),
        )
    return table
