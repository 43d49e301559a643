"""``archon compare``: several architectures on the same items and the same draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from archon.cli.console import console, emit
from archon.cli.measure import Draws, accuracy_text, measure, measuring_options
from archon.cli.options import command, models_by_role
from archon.errors import UsageError


@command
@click.argument("archs", nargs=-1, required=True, metavar="ARCH ARCH...")
@click.option("-b", "--benchmark", "bench", required=True, metavar="BENCH", help="The benchmark.")
@measuring_options
def compare(
    archs: Sequence[str],
    bench: str,
    models: Sequence[str],
    limit: int | None,
    seed: int,
    epochs: int,
    split: str,
    data: str | None,
    output: str | None,
    as_json: bool,
) -> None:
    """Measure several architectures on the same items, with paired tests.

    --model changes the role wherever an architecture has it; --output holds a folder for each.
    """
    from archon.api import Loader, benchmark
    from archon.cli.weights import open_all
    from archon.evals import report
    from archon.evals.folder import RunFolder, read_records, read_report

    if len(archs) < 2:
        raise UsageError("a comparison needs at least two architectures")
    loader = Loader()
    architectures = loader.architectures(archs, models_by_role(models))
    items = benchmark(bench, split=split, limit=limit, data=data)
    for architecture in architectures:
        architecture.check_examples(items.examples)
    open_all(loader.lms)

    folders = []
    for number, architecture in enumerate(architectures, start=1):
        path = Path(output) / f"{number}-{architecture.name}" if output else None
        folders.append(RunFolder.create(path, architecture.name))
        place = f"{number} of {len(architectures)}"
        measure(architecture, loader.lms, items, folders[-1], Draws(seed, epochs), place)
    paths = [folder.path for folder in folders]
    result = report.compare([read_report(p) for p in paths], [read_records(p) for p in paths])
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
