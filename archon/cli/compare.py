"""``archon compare``: compare architectures on the same items and samples, or finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archon.cli import completers
from archon.cli.console import ResultPrinter, counted, emit, p_text, points, print_line
from archon.cli.measure import (
    EvalOptions,
    Job,
    accuracy_text,
    eval_options,
    has_partial_scores,
    mean_score_text,
    measure,
    problem_lines,
)
from archon.cli.options import command
from archon.cli.stored_command import (
    OUTPUT_OPTIONS,
    given_options,
    resume_line,
    this_command,
)
from archon.errors import UsageError, require
from archon.evals.equal_cost import is_plain_vote
from archon.evals.rounding import decimal, percent

if TYPE_CHECKING:
    from rich.table import Table

    from archon.evals.costs import Cost
    from archon.evals.folder import RunFolder

_MAX_WARNINGS = 6
"""Maximum number of warnings that are printed; ``--json`` contains all of them."""


@command
@click.argument(
    "archs",
    nargs=-1,
    required=True,
    metavar="ARCH ARCH...|RUN RUN...",
    shell_complete=completers.names("architecture"),
)
@click.option(
    "-b",
    "--benchmark",
    "bench",
    metavar="BENCH",
    shell_complete=completers.names("benchmark"),
    help="Benchmark to use: a catalogue name, a path, FILE.py:FUNCTION, or your own data. Runs "
    "have their own.",
)
@eval_options
@click.option(
    "--cost",
    type=click.Choice(["tokens", "compute", "seconds"]),
    default="tokens",
    show_default=True,
    help="Cost that a plain vote must not exceed: tokens, the compute of the models, or time.",
)
def compare(
    archs: Sequence[str], bench: str | None, options: EvalOptions, cost: Cost, as_json: bool
) -> None:
    """Compare architectures on the same benchmark items, or finished runs.

    ARCH is a catalogue name or a path. Differences are tested with paired, per-item tests. --model
    applies to every architecture that has the role. Each run has its own subfolder in the --output
    folder: 1-ARCH, 2-ARCH, and so on.

    With the folders of runs, or of comparisons, their answers are compared and nothing is asked.
    """
    runs = _given_runs(archs)
    if runs:
        _compare_stored(runs, cost, as_json)
        return
    if bench is None:
        raise UsageError(
            f"{archs[0]} is not a run, and a comparison of architectures needs a benchmark; add "
            "--benchmark NAME"
        )
    _compare_architectures(archs, bench, options, cost, as_json)


def _given_runs(archs: Sequence[str]) -> list[Path]:
    """Return the folders of runs that the arguments name; empty if they name architectures.

    Raises
    ------
    UsageError
        Only some of the arguments are runs, or an option is given that finished runs do not have.
    """
    from archon.evals.collection.find_runs import runs_of_comparison
    from archon.evals.folder import RunFolder
    from archon.spec import catalog

    catalogue = catalog.names("architecture")
    folders: dict[str, list[Path]] = {}
    for arch in archs:
        path = Path(arch)
        found = [path] if RunFolder(path).holds_run else runs_of_comparison(path)
        folders[arch] = [] if arch in catalogue else found
    runs = [arch for arch in archs if folders[arch]]
    if not runs:
        return []
    if len(runs) < len(archs):
        other = next(arch for arch in archs if not folders[arch])
        raise UsageError(
            f"{runs[0]} is a run, but {other} is not: compare either architectures or finished "
            "runs; archon eval makes a run of an architecture"
        )
    if options := given_options(without=["cost"]):
        raise UsageError(f"finished runs are compared as they are; leave out {', '.join(options)}")
    return [path for arch in archs for path in folders[arch]]


def _compare_stored(paths: Sequence[Path], cost: Cost, as_json: bool) -> None:
    from archon.evals.collection.compare_runs import compare_runs
    from archon.evals.run import read_run

    if len(paths) < 2:
        raise UsageError("a comparison needs at least two runs; add another RUN")
    require("scipy", "evals")
    result = compare_runs(paths, cost)
    if as_json:
        emit(result)
    specs = [read_run(path).description["specification"]["architecture"] for path in paths]
    _print(result, sum(map(is_plain_vote, specs)), ResultPrinter(as_json), cost)


def _compare_architectures(
    archs: Sequence[str], bench: str, options: EvalOptions, cost: Cost, as_json: bool
) -> None:
    from archon.evals.planned_comparison import PlannedComparison
    from archon.graph.loading import Loader

    if len(archs) < 2:
        raise UsageError("a comparison needs at least two architectures; add another ARCH")
    require("scipy", "evals")
    loader = Loader(changes=options.changes)
    architectures = loader.architectures(archs, options.models)
    selection = options.selection
    planned = PlannedComparison.of(
        architectures,
        selection.benchmark(bench),
        options.output,
        resume=options.resume,
        seed=selection.seed,
        epochs=selection.epochs,
        by=selection.by or None,
    )
    jobs = []
    pairs = zip(archs, planned.evaluations, planned.folders, strict=True)
    for i, (arch, evaluation, folder) in enumerate(pairs, start=1):
        title = f"{i} of {len(archs)}: {evaluation.architecture.name}"
        path = None if options.output is None else folder.path
        jobs.append(Job(evaluation, folder, title, _commands(arch, bench, path)))
    try:
        measure(jobs, loader.lms, options.policy)
    except KeyboardInterrupt:
        _print_resume(options.output, planned.folders)
        raise
    finally:
        planned.discard_unused()
    result = planned.result(cost).to_json()
    if as_json:
        emit(result)
    specs = [each.description["specification"]["architecture"] for each in planned.evaluations]
    _print(result, sum(map(is_plain_vote, specs)), ResultPrinter(as_json), cost)


def _commands(arch: str, bench: str, path: Path | None) -> dict[str, Any]:
    """Return the keys of ``run.json`` with the commands that continue a run and its comparison."""
    from archon.evals.run_spec import COMMAND, COMPARISON

    alone = this_command("eval", places=[arch, bench], without=[*OUTPUT_OPTIONS, "bench"])
    if path is None:
        return {COMMAND: alone}
    return {COMMAND: alone, COMPARISON: this_command("compare", without=OUTPUT_OPTIONS)}


def _print_resume(output: Path | None, folders: Sequence[RunFolder]) -> None:
    """Print the commands that continue an interrupted comparison."""
    started = [folder.path for folder in folders if folder.holds_run]
    for path in started[-1:] if output is None else started[:1] and [output]:
        print_line(f"to continue: {resume_line(path)}")


def _print(result: dict[str, Any], num_votes: int, out: ResultPrinter, cost: Cost) -> None:
    out.table(_result_table(result["rows"]))
    out.line("* no other architecture is as accurate at a lower cost (or in less time)\n", "dim")
    out.table(_pair_table(result["pairs"]))
    if any(map(has_partial_scores, result["rows"])):
        out.line("\nby mean score, which includes partial scores:", "dim")
        out.table(_pair_table(result["pairs"], by_mean_score=True))
    if result["equal_cost"]:
        kind = "cost" if cost == "tokens" else cost
        out.line(
            f"\ncompared at equal {kind} with a plain vote over the samples of one of these runs:",
            "dim",
        )
        out.table(_equal_cost_table(result["equal_cost"]))
    else:
        reason = _why_no_votes(num_votes, len(result["rows"]))
        if num_votes and cost == "compute" and (missing := _unknown(result["rows"])):
            reason = missing
        out.line(f"\nno comparison at equal cost: {reason}", "dim")
    _print_single_calls(result["single_calls"], out)
    out.line("")
    for warning in result["warnings"][:_MAX_WARNINGS]:
        print_line(warning, "yellow")
    num_hidden = len(result["warnings"]) - _MAX_WARNINGS
    if num_hidden > 0:
        print_line(f"{counted(num_hidden, 'more warning')}; use --json to list all", "yellow")
    for row in result["rows"]:
        for line, style in problem_lines(row):
            print_line(f"{row['name']}: {line}", style)
    for row in result["rows"]:
        out.line(f"run of {row['name']}: {row['run']}")


def _print_single_calls(rows: Sequence[dict[str, Any]], out: ResultPrinter) -> None:
    """Print which single call of another model costs as much, and which of the two is better."""
    from archon.evals.single_calls import single_call_text

    for row in rows:
        shown = "" if row["single"] is None else points(row["difference"], row["interval"])
        out.line("\n" + single_call_text(row, shown))


def _unknown(rows: Sequence[dict[str, Any]]) -> str:
    """Return which models' sizes are unknown; "" if all are known."""
    from archon.evals.compute import unknown_text

    usages = [usage for row in rows for usage in (row.get("usage_by_model") or {}).items()]
    unknown = dict.fromkeys(name for name, usage in usages if usage["compute"] is None)
    return unknown_text(list(unknown)) if unknown else ""


def _why_no_votes(num_votes: int, num_rows: int) -> str:
    """Return the reason why no architecture was compared with a plain vote at equal cost."""
    if not num_votes:
        return "none of the architectures is a plain vote (a generator and a majority vote)"
    if num_votes == num_rows:
        return "all architectures are plain votes"
    return "the plain vote's run has no answers with samples"


def _result_table(rows: Sequence[dict[str, Any]]) -> Table:
    from rich.table import Table

    from archon.evals.compute import compute_text
    from archon.evals.report import TABLE_COLUMNS

    table = Table(box=None, pad_edge=False)
    table.add_column("architecture", overflow="fold")
    table.add_column("accuracy [95%]", no_wrap=True)
    is_partial = any(map(has_partial_scores, rows))
    if is_partial:
        table.add_column("mean score [95%]", no_wrap=True)
    for heading, _ in TABLE_COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    shows_compute = any(row.get("compute") is not None for row in rows)
    if shows_compute:
        table.add_column("compute", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["name"],
            accuracy_text(row),
            *([mean_score_text(row)] if is_partial else []),
            *(_cell(row, name, decimals) for name, (_, decimals) in TABLE_COLUMNS.items()),
            *(
                [_starred(row, "compute", compute_text(row.get("compute")))]
                if shows_compute
                else []
            ),
        )
    return table


def _cell(row: dict[str, Any], column: str, decimals: int) -> str:
    """Format a row's value in a column, with a star if it is on the Pareto front with accuracy."""
    shown = "–" if row[column] is None else decimal(row[column], decimals)
    return _starred(row, column, shown)


def _starred(row: dict[str, Any], column: str, shown: str) -> str:
    """Add a star to a value if the row is on the Pareto front of the column and accuracy."""
    from archon.evals.comparison import FRONTS

    on_front = row.get(FRONTS.get(column, ""))
    return shown if on_front is None else f"{shown} {'*' if on_front else ' '}"


def _pair_table(pairs: Sequence[dict[str, Any]], *, by_mean_score: bool = False) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("a", "b"):
        table.add_column(name, overflow="fold")
    table.add_column("a - b, points [95%]", no_wrap=True)
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


def _equal_cost_table(rows: Sequence[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("architecture", overflow="fold")
    table.add_column("cost", justify="right", no_wrap=True)
    for name in ("samples, cost of the vote", "vote", "difference [95%]", "p"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(
            row["name"],
            _amount(row["amount"], row["cost"]),
            f"{'' if row['is_enough'] else 'all '}{row['drafts']}, "
            f"{_amount(row['vote_amount'], row['cost'])}",
            f"{percent(row['vote_accuracy'])}%",
            points(row["difference"], row["interval"]),
            p_text(row["p_value"]),
        )
    return table


def _amount(amount: float, cost: Cost) -> str:
    """Return a cost without the unit of tokens, in which all other columns are."""
    from archon.evals.costs import cost_text

    return decimal(amount) if cost == "tokens" else cost_text(amount, cost)
