"""``archon compare``: several architectures on the same items and the same draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from archon.cli.console import console, emit
from archon.cli.measure import Measuring, Work, accuracy_text, measure, measuring_options
from archon.cli.options import command
from archon.errors import UsageError


@command
@click.argument("archs", nargs=-1, required=True, metavar="ARCH ARCH...")
@click.option("-b", "--benchmark", "bench", required=True, metavar="BENCH", help="The benchmark.")
@measuring_options
def compare(archs: Sequence[str], bench: str, measuring: Measuring, as_json: bool) -> None:
    """Measure several architectures on the same items, with paired tests.

    --model changes the role wherever an architecture has it; --output holds a folder for each.
    """
    from archon.api import Loader, run_folder
    from archon.evals import report
    from archon.evals.run import read_run

    if len(archs) < 2:
        raise UsageError("a comparison needs at least two architectures")
    loader = Loader()
    architectures = loader.architectures(archs, measuring.models)
    items = measuring.benchmark(bench)
    evaluations = [measuring.evaluation(architecture, items) for architecture in architectures]
    works = []
    for number, evaluation in enumerate(evaluations, start=1):
        name = architectures[number - 1].name
        path = None if measuring.output is None else measuring.output / f"{number}-{name}"
        folder = run_folder(path, name, resume=measuring.resume)
        works.append(Work(evaluation, folder, f"{number} of {len(archs)}: {name}"))
    try:
        measure(works, loader.lms)
    finally:
        for work in works:
            work.folder.discard_unused()
    runs = [read_run(work.folder.path) for work in works]
    result = report.compare(
        [run.report().to_json() for run in runs], [run.records() for run in runs]
    )
    if as_json:
        emit(result)
    _tell(result)


def _tell(result: dict[str, Any]) -> None:
    from rich.table import Table

    rows = Table("architecture", "accuracy [95 %]", "cost", "tokens/s", "run", box=None)
    for row in result["rows"]:
        cost = "–" if row["cost_tokens"] is None else f"{row['cost_tokens']:.0f}"
        speed = f"{row['tokens_per_second']:.0f}"
        rows.add_row(row["architecture"], accuracy_text(row), cost, speed, row["run"])
    pairs = Table("a", "b", "a - b [95 %]", "p", box=None)
    for pair in result["pairs"]:
        low, high = pair["interval"]
        difference = f"{100 * pair['difference']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
        pairs.add_row(pair["a"], pair["b"], difference, f"{pair['p_value']:.3f}")
    console().print(rows)
    console().print(pairs)
