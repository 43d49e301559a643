"""``archon models``: the cards of the catalogue, and the weights that are here."""

from __future__ import annotations

from typing import Any

import click

from archon import weights
from archon.cli.console import console, emit, megabytes
from archon.cli.options import command
from archon.errors import UsageError
from archon.spec import catalog
from archon.spec.model import LocalCard, ModelCard
from archon.spec.reader import Loaded, load_model_card


@command
def ls(as_json: bool) -> None:
    """List the catalogue, and which weights are here."""
    rows = [_row(load_model_card(name)) for name in catalog.names("model")]
    if as_json:
        emit({"models": rows})
        return
    from rich.table import Table

    table = Table("name", "backend", "weights", "", "description", box=None)
    for row in rows:
        size = megabytes(row["bytes"]) if row["bytes"] else ""
        here = "here" if row["path"] else ""
        table.add_row(row["name"], row["backend"], size, here, row["description"])
    console().print(table)


@command
@click.argument("name")
def pull(name: str, as_json: bool) -> None:
    """Fetch a model's weights and check their digest; what is here is checked once more."""
    from archon.cli.weights import pull as pull_with_progress
    from archon.weights.cache import read_record
    from archon.weights.digest import digest_of
    from archon.weights.model_files import num_bytes_of
    from archon.weights.progress import silent

    loaded = load_model_card(name)
    card = _local(loaded)
    path = pull_with_progress(card, loaded.base_dir, verify=True)
    record = read_record(card.name)
    known = record is not None and record.path == str(path.absolute())
    sha256 = record.sha256 if record and known else digest_of(path, silent)
    num_bytes = num_bytes_of(path)
    result = {"name": card.name, "path": str(path), "sha256": sha256, "bytes": num_bytes}
    if as_json:
        emit(result)
    else:
        console().print(f"{path}\n{megabytes(num_bytes)}, sha256 {sha256}", soft_wrap=True)


@command
@click.argument("name")
def show(name: str, as_json: bool) -> None:
    """Print a model card, and where its weights are."""
    loaded = load_model_card(name)
    row = _row(loaded)
    card = loaded.spec.model_dump(mode="json", exclude_none=True)
    if as_json:
        emit({"card": card, "path": row["path"]})
        return
    import json

    print(json.dumps(card, indent=2, ensure_ascii=False))
    if isinstance(loaded.spec, LocalCard):
        console().print(f"weights: {row['path'] or 'not here yet'}", soft_wrap=True)


@command
@click.argument("name")
def rm(name: str, as_json: bool) -> None:
    """Delete a model's weights from Archon's cache; the hub's own cache stays as it is."""
    loaded = load_model_card(name)
    card = _local(loaded)
    freed = weights.remove(card)
    left = weights.find_anywhere(card, loaded.base_dir)
    if as_json:
        emit({"name": card.name, "freed_bytes": freed, "path": str(left) if left else None})
        return
    console().print(f"{card.name}: {megabytes(freed)} freed" if freed else "nothing to delete")


def _local(loaded: Loaded[Any]) -> LocalCard:
    if not isinstance(loaded.spec, LocalCard):
        backend = loaded.spec.backend
        raise UsageError(f"{loaded.spec.name!r} has no weights: its backend is {backend!r}")
    return loaded.spec


def _row(loaded: Loaded[Any]) -> dict[str, Any]:
    card: ModelCard = loaded.spec
    row: dict[str, Any] = {
        "name": card.name,
        "backend": card.backend,
        "description": card.description,
        "bytes": None,
        "path": None,
    }
    if isinstance(card, LocalCard):
        path = weights.find_anywhere(card, loaded.base_dir)
        row.update(bytes=card.bytes, path=str(path) if path else None)
    return row
