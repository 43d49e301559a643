"""``archon validate``, ``schema`` and ``show``: files, without running anything."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archon.cli.console import console, emit
from archon.cli.exits import WRONG_INPUT
from archon.cli.options import command, models_by_role, models_option
from archon.errors import ArchonError, FileError, UsageError

if TYPE_CHECKING:
    from archon.graph.architecture import Architecture
    from archon.study.space import SpaceCheck


@command
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def validate(files: tuple[str, ...], as_json: bool) -> int:
    """Check files of any kind: their form, and the graph of an architecture."""
    rows = [_check(file) for file in files]
    if as_json:
        told = [{key: row[key] for key in row if key != "told"} for row in rows]
        emit({"valid": all(row["valid"] for row in rows), "files": told})
    for row in rows:
        line = f"{row['file']}: {row['told']}" if row["valid"] else row["error"]
        click.secho(line, err=True, fg=None if row["valid"] else "red")
    return 0 if all(row["valid"] for row in rows) else WRONG_INPUT


def _check(file: str) -> dict[str, Any]:
    from archon.spec.reader import (
        kind_of,
        load_benchmark,
        load_model_card,
        load_training,
    )
    from archon.spec.strict_json import read_json

    row: dict[str, Any] = {"file": file, "kind": None, "valid": False, "error": None, "errors": []}
    try:
        row["kind"] = kind_of(read_json(Path(file), file))
        row["told"] = f"{row['kind']}, sound"
        match row["kind"]:
            case "model":
                load_model_card(Path(file))
            case "benchmark":
                load_benchmark(Path(file))
            case "training":
                load_training(Path(file))
            case "space":
                from archon.api import check_space
                from archon.study.space import Space

                row |= asdict(found := check_space(Space.load(Path(file))))
                row["told"] = f"space, sound: {_told_check(found)}"
            case _:
                from archon.graph.loading import Loader

                Loader().architecture(Path(file))
        row["valid"] = True
    except ArchonError as error:
        row["error"] = str(error)
        row["errors"] = (
            error.to_json()
            if isinstance(error, FileError)
            else [{"file": file, "path": None, "message": str(error), "referenced_by": []}]
        )
    return row


def _told_check(found: SpaceCheck) -> str:
    """How many points there are, and what became of those that were looked at."""
    points = (
        "more points than can be counted"
        if found.num_points is None
        else (f"{found.num_points:,} points")
    )
    if found.num_checked == found.num_points:
        return f"{points}, all of them checked"
    return f"{points}, {found.num_valid:,} of them checked, drawn at random"


@command
@click.argument(
    "kind", type=click.Choice(["architecture", "space", "model", "benchmark", "training"])
)
def schema(kind: str, as_json: bool) -> None:
    """Print the JSON Schema of a kind of file, for editors to complete it."""
    from archon.spec.reader import schema as schema_of

    if as_json:
        emit(schema_of(kind))
    else:
        print(json.dumps(schema_of(kind), indent=2, ensure_ascii=False))


@command
@click.argument("arch", metavar="FILE")
@models_option
@click.option("--cost", "with_cost", is_flag=True, help="Estimate calls and tokens of a question.")
@click.option(
    "--completion-tokens",
    type=click.FloatRange(min=1),
    help="Tokens of a usual reply, for --cost; by default 40 % of max_tokens.",
)
def show(
    arch: str,
    models: tuple[str, ...],
    with_cost: bool,
    completion_tokens: float | None,
    as_json: bool,
) -> None:
    """Draw an architecture, given by name or path, as a Mermaid flowchart; or list the holes of a
    search space, and one of its architectures."""
    from archon.cli.spaces import show_space
    from archon.spec.reader import names_space

    if names_space(arch):
        if models or with_cost:
            raise UsageError("--model and --cost are for an architecture, not for a space of them")
        show_space(arch, as_json=as_json)
        return
    from archon.graph.loading import Loader
    from archon.graph.mermaid import mermaid

    architecture = Loader().architecture(arch, models_by_role(models))
    flowchart = mermaid(architecture.graph)
    spec = architecture.spec
    cost = _cost(architecture, completion_tokens) if with_cost else None
    if as_json:
        told = {"name": spec.name, "description": spec.description, "mermaid": flowchart}
        emit(told if cost is None else {**told, "cost": cost})
        return
    console().print(f"{spec.name}: {spec.description}")
    print(flowchart, end="")
    if cost is not None:
        _print_cost(cost)


def _cost(architecture: Architecture, completion_tokens: float | None) -> dict[str, Any]:
    """The estimate as plain data: ``worst`` and ``expected``, of each node and in all."""
    from archon.graph.estimate import Amount, Expectation, estimate

    def told(amount: Amount) -> dict[str, float]:
        return {
            "calls": round(amount.calls, 1),
            "prompt_tokens": round(amount.prompt_tokens),
            "completion_tokens": round(amount.completion_tokens),
            "tokens": round(amount.tokens),
        }

    found = estimate(architecture, Expectation(completion_tokens=completion_tokens))
    return {
        "worst": told(found.worst),
        "expected": told(found.expected),
        "nodes": {
            name: {"worst": told(node.worst), "expected": told(node.expected)}
            for name, node in found.nodes.items()
        },
    }


def _print_cost(cost: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("node", box=None)
    for heading in ("calls", "at most", "tokens", "at most"):
        table.add_column(heading, justify="right")
    for name, row in [*cost["nodes"].items(), ("in all", cost)]:
        numbers = [
            row[case][what] for what in ("calls", "tokens") for case in ("expected", "worst")
        ]
        table.add_row(Text(name), *(f"{number:g}" for number in numbers))
    console().print(table)
