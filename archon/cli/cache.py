"""``archon cache``: what Archon keeps on this machine, and freeing it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from archon.cli.console import console, emit
from archon.cli.options import command
from archon.errors import UsageError, os_reason
from archon.lm import pool
from archon.weights import cache_dir

FOLDERS = {
    "packed": "weights as the kernels read them",
    "kernels": "compiled for this machine",
    "peers": "weights for `archon bench peers`",
    "models": "weights: see `archon models`",
}
"""Parts of the cache that are folders, and what lies in each."""

CLEARABLE = ("draws", "packed", "kernels", "peers")
_WRITING_SECONDS = 3600
"""A file that carries the number of a process is being written, unless it is older than this."""


@command
def ls(as_json: bool) -> None:
    """Show what is in the cache, and how much room it takes.

    The pool of draws takes 2 GB at most, or as many bytes as ARCHON_POOL_BYTES says.
    """
    bound = pool.max_pool_bytes()
    draws = pool.contents(pool.pool_path())
    parts: dict[str, dict[str, Any]] = {
        "draws": {
            "bytes": draws.file_bytes,
            "draws": draws.draws,
            "max_bytes": bound,
            "readable": draws.readable,
            "models": [
                {"model": held.model, "draws": held.draws, "bytes": held.bytes}
                for held in draws.models
            ],
        }
    }
    for name in FOLDERS:
        files = list(_files(name))
        parts[name] = {"bytes": sum(map(_size, files)), "files": len(files)}
    total_bytes = sum(part["bytes"] for part in parts.values())
    if as_json:
        emit({"path": str(cache_dir()), "bytes": total_bytes, "parts": parts})
    else:
        _print(parts, total_bytes)


@command
@click.argument("parts", nargs=-1, type=click.Choice([*CLEARABLE, "all"]))
def clear(parts: Sequence[str], as_json: bool) -> None:
    """Free room: the pool of draws, or the PARTS named.

    Everything that is cleared is made again when it is needed. Weights of models stay, whatever is
    named: `archon models rm` deletes them.
    """
    chosen = CLEARABLE if "all" in parts else tuple(dict.fromkeys(parts)) or ("draws",)
    freed = {name: _clear(name) for name in chosen}
    if as_json:
        emit({"freed_bytes": sum(freed.values()), "parts": freed})
        return
    for name, num_bytes in freed.items():
        console().print(f"{name}: {_human(num_bytes)} freed")


def _clear(name: str) -> int:
    """Clear one part; returns the number of bytes freed."""
    if name == "draws":
        return pool.clear(pool.pool_path())
    freed = 0
    for path in _files(name):
        size = _size(path)
        if _is_being_written(path):
            continue
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(f"cannot delete {path}: {os_reason(error)}") from None
        freed += size
    return freed


def _files(name: str) -> Iterator[Path]:
    return (path for path in sorted((cache_dir() / name).rglob("*")) if path.is_file())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # cleared by somebody else meanwhile
        return 0


def _is_being_written(path: Path) -> bool:
    try:
        age_seconds = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return False
    return path.suffix[1:].isdigit() and age_seconds < _WRITING_SECONDS


def _print(parts: dict[str, dict[str, Any]], total_bytes: int) -> None:
    from rich.table import Table

    draws = parts["draws"]
    told = f"{draws['draws']} draws, at most {_human(draws['max_bytes'])}"
    if not draws["readable"]:
        told = "damaged; the next run that uses it begins a fresh one"
    table = Table("part", "size", "", box=None)
    table.add_row("draws", _human(draws["bytes"]), told)
    for held in draws["models"]:
        table.add_row(f"  {held['model']}", _human(held["bytes"]), f"{held['draws']} draws")
    for name, meaning in FOLDERS.items():
        table.add_row(name, _human(parts[name]["bytes"]), meaning)
    table.add_row("together", _human(total_bytes), str(cache_dir()))
    console().print(table)


def _human(num_bytes: int) -> str:
    from rich.filesize import decimal

    return decimal(num_bytes)
