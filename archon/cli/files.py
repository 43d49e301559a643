"""``archon validate``, ``schema`` and ``show``: check and display files without running models."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archon.cli import completers
from archon.cli.console import ResultPrinter, emit, print_line
from archon.cli.exits import WRONG_INPUT
from archon.cli.options import changes_options, command, models_by_role, models_option
from archon.cli.spaces import show_space, size_text
from archon.cli.stored_command import given_options
from archon.errors import ArchonError, FileError, UsageError

if TYPE_CHECKING:
    from archon.evals.benchmarks import Item
    from archon.graph.architecture import Architecture
    from archon.spec.benchmark import BenchmarkCard
    from archon.spec.changes import Changes
    from archon.spec.reader import Loaded
    from archon.study.space import SpaceCheck


@command
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", shell_complete=completers.files
)
def validate(files: tuple[str, ...], as_json: bool) -> int:
    """Check that files are valid.

    Each FILE is checked against the schema of its type. For an architecture, the graph is checked
    as well; for a search space, the graphs of its configurations; for a benchmark with a local
    file, its rows. A data file is checked as `archon eval` reads it.
    """
    checks = [_check_file(file) for file in files]
    is_valid = all(row["valid"] for row, _ in checks)
    if as_json:
        emit({"valid": is_valid, "files": [row for row, _ in checks]})
    out = ResultPrinter(as_json)
    for row, summary in checks:
        if row["valid"]:
            out.line(f"{row['file']}: {summary}")
        else:
            print_line(row["error"], "red")
    return 0 if is_valid else WRONG_INPUT


def _check_file(file: str) -> tuple[dict[str, Any], str]:
    """Check a file.

    Returns
    -------
    The file's object in the JSON output, and a one-line description. The description of an invalid
    file is empty.
    """
    from archon.spec import reader
    from archon.spec.data_files import data_format
    from archon.spec.strict_json import read_json

    path = Path(file)
    row: dict[str, Any] = {"file": file, "kind": None, "valid": False, "error": None, "errors": []}
    summary = ""
    try:
        if data_format(path) is not None:
            row["kind"], summary = "data", f"valid data: {'; '.join(_check_data(file))}"
            row["valid"] = True
            return row, summary
        row["kind"] = reader.kind_of(read_json(path, file))
        summary = f"valid {row['kind']}"
        match row["kind"]:
            case "model":
                reader.load_model_card(path)
            case "benchmark":
                summary += _check_rows(reader.load_benchmark(path))
            case "training":
                reader.load_training(path)
            case "space":
                from archon.api import check_space
                from archon.study.space import Space

                row |= asdict(check := check_space(Space.load(path)))
                summary += f": {_check_summary(check)}"
            case _:
                from archon.graph.loading import Loader

                Loader().architecture(path)
        row["valid"] = True
    except ArchonError as error:
        row["error"] = str(error)
        row["errors"] = (
            error.to_json()
            if isinstance(error, FileError)
            else [{"file": file, "path": None, "message": str(error), "referenced_by": []}]
        )
    return row, summary


def _check_data(file: str) -> tuple[str, ...]:
    """Read a data file; return lines on its columns and splits."""
    from archon.api import benchmark

    opened = benchmark(file, split="all")
    return (*opened.notes[:-1], _sizes(opened.items))


def _check_rows(loaded: Loaded[BenchmarkCard]) -> str:
    """Read the rows of a benchmark's file, and return the number of items per split.

    Rows of other sources would have to be downloaded or generated; they are not read.
    """
    from archon.evals.benchmarks import load_items

    if loaded.spec.source.path is None:
        return ""
    return f": {_sizes(load_items(loaded.spec, loaded.base_dir, 'all'))}"


def _sizes(items: list[Item]) -> str:
    from archon.evals.benchmarks.items import split_sizes

    sizes = split_sizes(items)
    return f"{', '.join(f'{size} {split}' for split, size in sizes.items())} items"


def _check_summary(check: SpaceCheck) -> str:
    size = size_text(check.num_points)
    if check.num_checked == check.num_points:
        return f"{size}, all of them checked"
    return f"{size}, {check.num_valid:,} of them checked, chosen at random"


@command
@click.argument(
    "kind", type=click.Choice(["architecture", "space", "model", "benchmark", "training"])
)
def schema(kind: str, as_json: bool) -> None:
    """Print the JSON Schema of a file type.

    Editors use the schema for completion and validation.
    """
    from archon.spec.reader import schema as schema_of

    if as_json:
        emit(schema_of(kind))
    else:
        print(json.dumps(schema_of(kind), indent=2, ensure_ascii=False))


@command
@click.argument(
    "arch",
    metavar="ARCH|SPACE",
    shell_complete=completers.names("architecture", "space"),
)
@models_option
@changes_options
@click.option(
    "--cost",
    "with_cost",
    is_flag=True,
    help="Also estimate the model calls and tokens per question.",
)
@click.option(
    "--completion-tokens",
    type=click.FloatRange(min=1),
    metavar="N",
    help="With --cost, assume completions of N tokens; default: 40% of max_tokens.",
)
def show(
    arch: str,
    models: tuple[str, ...],
    changes: Changes,
    with_cost: bool,
    completion_tokens: float | None,
    as_json: bool,
) -> None:
    """Print an architecture as a Mermaid flowchart.

    For a search space, print its parameters as well; the flowchart shows its first configuration.
    ARCH and SPACE are catalogue names or paths.
    """
    from archon.spec.reader import names_space

    if names_space(arch):
        if given_options():
            raise UsageError(
                f"{arch} is a search space; --model, --set, --temperature and --cost need an "
                "architecture"
            )
        show_space(arch, as_json=as_json)
        return
    from archon.graph.loading import Loader
    from archon.graph.mermaid import mermaid

    architecture = Loader(changes=changes).architecture(arch, models_by_role(models))
    flowchart = mermaid(architecture.graph)
    spec = architecture.spec
    cost = _cost(architecture, completion_tokens) if with_cost else None
    if as_json:
        result = {"name": spec.name, "description": spec.description, "mermaid": flowchart}
        emit(result if cost is None else {**result, "cost": cost})
        return
    print_line(f"{spec.name}: {spec.description}")
    print(flowchart, end="")
    if cost is not None:
        _print_cost(cost)


def _cost(architecture: Architecture, completion_tokens: float | None) -> dict[str, Any]:
    """Estimate the cost of an answer; return it as JSON data.

    Returns
    -------
    ``worst`` and ``expected``, each with calls and tokens, and ``nodes``, with the same values for
    each node.
    """
    from archon.graph.estimate import Estimate, Expectation, NodeEstimate, estimate

    def plain(cost: Estimate | NodeEstimate) -> dict[str, dict[str, float]]:
        return {
            case: {
                "calls": round(amount.calls, 1),
                "prompt_tokens": round(amount.prompt_tokens),
                "completion_tokens": round(amount.completion_tokens),
                "tokens": round(amount.tokens),
            }
            for case, amount in (("worst", cost.worst), ("expected", cost.expected))
        }

    total = estimate(architecture, Expectation(completion_tokens=completion_tokens))
    return {**plain(total), "nodes": {name: plain(node) for name, node in total.nodes.items()}}


def _print_cost(cost: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("node", box=None)
    for heading in ("calls", "at most", "tokens", "at most"):
        table.add_column(heading, justify="right")
    for name, row in [*cost["nodes"].items(), ("total", cost)]:
        numbers = [
            row[case][what] for what in ("calls", "tokens") for case in ("expected", "worst")
        ]
        table.add_row(Text(name), *(f"{number:g}" for number in numbers))
    ResultPrinter().table(table)
