"""``archon cache``: list and delete the files that Archon caches on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from archon.cli.console import ResultPrinter, counted, emit
from archon.cli.options import command
from archon.errors import UsageError, os_reason
from archon.lm import pool
from archon.weights import cache_dir

FOLDERS = {
    "packed": "weights packed for the kernels",
    "kernels": "kernels compiled for this machine",
    "peers": "weights for `archon bench peers`",
    "models": "weights; `archon models` manages them",
}
"""Subfolder of the cache → its description in the ``archon cache ls`` table."""

CLEARABLE = ("draws", "packed", "kernels", "peers")
_WRITING_SECONDS = 3600
"""Seconds for which a temporary file is kept while the process named in its suffix runs."""


@command
def ls(as_json: bool) -> None:
    """List the contents of the cache and its size on disk.

    Stored samples (draws) take up to 2 GB. The environment variable ARCHON_POOL_BYTES changes this
    limit.
    """
    draws = pool.contents(pool.pool_path())
    parts: dict[str, dict[str, Any]] = {
        "draws": {
            "bytes": draws.file_bytes,
            "draws": draws.draws,
            "max_bytes": pool.max_pool_bytes(),
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
    """Delete cached files; by default, only stored samples.

    Archon recreates deleted files when it needs them. Model weights are kept; use `archon models
    rm` to delete them.
    """
    chosen = CLEARABLE if "all" in parts else tuple(dict.fromkeys(parts)) or ("draws",)
    freed = {name: _clear(name) for name in chosen}
    if as_json:
        emit({"freed_bytes": sum(freed.values()), "parts": freed})
        return
    out = ResultPrinter()
    for name, num_bytes in freed.items():
        out.line(f"{name}: freed {_size_text(num_bytes)}")


def _clear(name: str) -> int:
    """Delete one part of the cache; return the number of bytes freed."""
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
    description = f"{counted(draws['draws'], 'sample')}, up to {_size_text(draws['max_bytes'])}"
    if not draws["readable"]:
        description = "damaged; it is replaced on next use"
    table = Table("part", "size", "", box=None)
    table.add_row("draws", _size_text(draws["bytes"]), description)
    for model in draws["models"]:
        samples = counted(model["draws"], "sample")
        table.add_row(f"  {model['model']}", _size_text(model["bytes"]), samples)
    for name, folder_description in FOLDERS.items():
        table.add_row(name, _size_text(parts[name]["bytes"]), folder_description)
    table.add_row("total", _size_text(total_bytes), str(cache_dir()))
    ResultPrinter().table(table)


def _size_text(num_bytes: int) -> str:
    from rich.filesize import decimal

    return decimal(num_bytes)
