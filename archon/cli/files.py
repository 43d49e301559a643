"""``archon validate``, ``schema`` and ``show``: files, without running anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from archon.cli.console import console, emit
from archon.cli.exits import WRONG_INPUT
from archon.cli.options import command, models_by_role, models_option
from archon.errors import ArchonError, SpecError


@command
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def validate(files: tuple[str, ...], as_json: bool) -> int:
    """Check files of any kind: their form, and the graph of an architecture."""
    rows = [_check(file) for file in files]
    if as_json:
        emit({"valid": all(row["valid"] for row in rows), "files": rows})
    for row in rows:
        told = f"{row['file']}: {row['kind']}, sound" if row["valid"] else row["error"]
        console().print(told, style=None if row["valid"] else "red", soft_wrap=True)
    return 0 if all(row["valid"] for row in rows) else WRONG_INPUT


def _check(file: str) -> dict[str, Any]:
    from archon.api import load
    from archon.spec.reader import kind_of, load_benchmark, load_model_card, read_json

    row: dict[str, Any] = {"file": file, "kind": None, "valid": False, "error": None}
    try:
        row["kind"] = kind_of(read_json(Path(file), file))
        match row["kind"]:
            case "model":
                load_model_card(Path(file))
            case "benchmark":
                load_benchmark(Path(file))
            case "architecture":
                load(Path(file))
            case kind:
                raise SpecError(f"is a {kind}, which cannot be checked yet", file=file)
        row["valid"] = True
    except ArchonError as error:
        row["error"] = str(error)
    return row


@command
@click.argument("kind", type=click.Choice(["architecture", "model", "benchmark"]))
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
def show(arch: str, models: tuple[str, ...], as_json: bool) -> None:
    """Draw an architecture, given by name or path, as a Mermaid flowchart."""
    from archon.api import load
    from archon.graph.mermaid import mermaid

    architecture = load(arch, models_by_role(models))
    flowchart = mermaid(architecture.graph)
    spec = architecture.spec
    if as_json:
        emit({"name": spec.name, "description": spec.description, "mermaid": flowchart})
        return
    console().print(f"{spec.name}: {spec.description}")
    print(flowchart, end="")
