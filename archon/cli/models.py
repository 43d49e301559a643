"""``archon models``: model cards and their weights on this machine."""

from __future__ import annotations

import json
from typing import Any

import click

from archon import weights
from archon.cli.console import ResultPrinter, emit, megabytes, print_line
from archon.cli.options import command
from archon.cli.weights import local_card
from archon.cli.weights import pull as pull_with_progress
from archon.spec import catalog
from archon.spec.model import LocalCard, ModelCard
from archon.spec.reader import Loaded, load_model_card


@command
def ls(as_json: bool) -> None:
    """List the model cards in the catalogue.

    Also show which weights are on this machine.
    """
    rows = [_row(load_model_card(name)) for name in catalog.names("model")]
    if as_json:
        emit({"models": rows})
        return
    from rich.table import Table

    table = Table("name", "backend", "weights", "", "description", box=None)
    for row in rows:
        size = megabytes(row["bytes"]) if row["bytes"] else ""
        where = "on disk" if row["path"] else ""
        table.add_row(row["name"], row["backend"], size, where, row["description"])
    ResultPrinter().table(table)


@command
@click.argument("name")
def pull(name: str, as_json: bool) -> None:
    """Download a model's weights and verify their SHA-256 digest.

    NAME is a catalogue name or a path. Weights that are already on this machine are only verified.
    """
    from archon.weights.cache import read_record
    from archon.weights.digest import digest_of
    from archon.weights.model_files import num_bytes_of
    from archon.weights.progress import silent

    loaded = load_model_card(name)
    card = local_card(loaded)
    path = pull_with_progress(card, loaded.base_dir, verify=True)
    record = read_record(card.name)
    is_recorded = record is not None and record.path == str(path.absolute())
    sha256 = record.sha256 if record and is_recorded else digest_of(path, silent)
    num_bytes = num_bytes_of(path)
    result = {"name": card.name, "path": str(path), "sha256": sha256, "bytes": num_bytes}
    if as_json:
        emit(result)
    else:
        ResultPrinter().line(f"{path}\n{megabytes(num_bytes)}, sha256 {sha256}")


@command
@click.argument("name")
def show(name: str, as_json: bool) -> None:
    """Print a model card and the path of its weights.

    NAME is a catalogue name or a path. The card goes to standard output, the path to standard
    error.
    """
    loaded = load_model_card(name)
    row = _row(loaded)
    card = loaded.spec.model_dump(mode="json", exclude_none=True)
    if as_json:
        emit({"card": card, "path": row["path"]})
        return
    print(json.dumps(card, indent=2, ensure_ascii=False))
    if isinstance(loaded.spec, LocalCard):
        print_line(f"weights: {row['path'] or 'not on this machine'}")


@command
@click.argument("name")
def rm(name: str, as_json: bool) -> None:
    """Delete a model's weights from Archon's cache.

    NAME is a catalogue name or a path. Files in the Hugging Face cache are kept.
    """
    loaded = load_model_card(name)
    card = local_card(loaded)
    freed = weights.remove(card)
    remaining = weights.find_anywhere(card, loaded.base_dir)
    if as_json:
        path = str(remaining) if remaining else None
        emit({"name": card.name, "freed_bytes": freed, "path": path})
        return
    ResultPrinter().line(
        f"{card.name}: freed {megabytes(freed)}" if freed else f"{card.name}: nothing to delete"
    )


def _row(loaded: Loaded[Any]) -> dict[str, Any]:
    card: ModelCard = loaded.spec
    local = card if isinstance(card, LocalCard) else None
    path = weights.find_anywhere(local, loaded.base_dir) if local else None
    return {
        "name": card.name,
        "backend": card.backend,
        "description": card.description,
        "bytes": local.bytes if local else None,
        "path": str(path) if path else None,
    }
