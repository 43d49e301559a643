"""``archon cache``: list and clear the files that Archon keeps on this machine."""

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
"""Part of the cache that is a folder → description."""

CLEARABLE = ("draws", "packed", "kernels", "peers")
_WRITING_SECONDS = 3600
"""A file whose suffix is a process id is being written, unless it is older than this."""


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
                {"model": model.model, "draws": model.draws, "bytes": model.bytes}
                for model in draws.models
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
        console().print(f"{name}: {_size_text(num_bytes)} freed")


def _clear(name: str) -> int:
    """Clear one part; return the number of bytes freed."""
    if name == "draws":
        return pool.clear(pool.pool_path())
    num_freed_bytes = 0
    for path in _files(name):
        try:
            stat = path.stat()
            age_seconds = time.time() - stat.st_mtime
            if path.suffix[1:].isdigit() and age_seconds < _WRITING_SECONDS:
                continue
            path.unlink()
        except FileNotFoundError:  # another process has just deleted it
            continue
        except OSError as error:
            raise UsageError(f"cannot delete {path}: {os_reason(error)}") from None
        num_freed_bytes += stat.st_size
    return num_freed_bytes


def _files(name: str) -> Iterator[Path]:
    return (path for path in sorted((cache_dir() / name).rglob("*")) if path.is_file())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # another process has just deleted it
        return 0


def _print(parts: dict[str, dict[str, Any]], total_bytes: int) -> None:
    from rich.table import Table

    draws = parts["draws"]
    description = f"{draws['draws']} draws, at most {_size_text(draws['max_bytes'])}"
    if not draws["readable"]:
        description = "damaged; the next run that uses it begins a fresh one"
    table = Table("part", "size", "", box=None)
    table.add_row("draws", _size_text(draws["bytes"]), description)
    for model in draws["models"]:
        table.add_row(f"  {model['model']}", _size_text(model["bytes"]), f"{model['draws']} draws")
    for name, meaning in FOLDERS.items():
        table.add_row(name, _size_text(parts[name]["bytes"]), meaning)
    table.add_row("together", _size_text(total_bytes), str(cache_dir()))
    console().print(table)


def _size_text(num_bytes: int) -> str:
    from rich.filesize import decimal

    return decimal(num_bytes)
