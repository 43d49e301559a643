"""Inspect and clear the pool's file, while other processes may be using it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from archon.errors import UsageError
from archon.lm.pool.store import (
    connect,
    damaged_path,
    is_damage,
    journal_path,
    make_tables,
    writing,
)


@dataclass(frozen=True, slots=True)
class ModelDraws:
    """Number and size of a model's stored samples."""

    model: str
    draws: int
    bytes: int


@dataclass(frozen=True, slots=True)
class PoolContents:
    """Contents of a pool's file, by model.

    ``file_bytes`` is the size of the file, including space left by deleted samples. ``readable`` is
    False if the file is damaged.
    """

    models: tuple[ModelDraws, ...] = ()
    file_bytes: int = 0
    readable: bool = True

    @property
    def draws(self) -> int:
        return sum(model.draws for model in self.models)


def contents(path: Path) -> PoolContents:
    """Read the contents of a pool's file, which are empty if the file does not exist.

    Raises
    ------
    UsageError
        The file cannot be opened.
    """
    if not path.exists():
        return PoolContents(file_bytes=_file_bytes(path))
    query = "SELECT model, draws, bytes FROM totals WHERE draws > 0 ORDER BY bytes DESC, model"
    try:
        with closing(connect(path)) as connection:
            models = tuple(ModelDraws(*row) for row in connection.execute(query))
    except sqlite3.Error as error:
        if is_damage(error):
            return PoolContents(file_bytes=_file_bytes(path), readable=False)
        raise UsageError(f"cannot read {path}: {error}") from None
    return PoolContents(models, _file_bytes(path))


def clear(path: Path) -> int:
    """Delete all samples. Other processes can continue to use the file, which is then empty.

    Returns
    -------
    The number of bytes freed.

    Raises
    ------
    UsageError
        The file cannot be written.
    """
    before = _file_bytes(path)
    try:
        damaged_path(path).unlink(missing_ok=True)
        if path.exists():
            _empty(path)
    except (sqlite3.Error, OSError) as error:
        raise UsageError(f"cannot empty {path}: {error}") from None
    return before - _file_bytes(path)


def _empty(path: Path) -> None:
    """Empty the file without deleting it, because another process may be writing to it."""
    try:
        with closing(connect(path)) as connection:
            # A full disk has no space for a journal. Without a journal an interruption can damage
            # the file, but its contents are to be deleted anyway.
            connection.execute("PRAGMA journal_mode = OFF")
            # Dropping tables is faster than deleting rows, each of which would fire a trigger.
            with writing(connection, "EXCLUSIVE"):
                connection.execute("DROP TABLE IF EXISTS draws")
                connection.execute("DROP TABLE IF EXISTS totals")
                make_tables(connection)
            connection.execute("VACUUM")
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        path.unlink()
        journal_path(path).unlink(missing_ok=True)


def _file_bytes(path: Path) -> int:
    files = (path, journal_path(path), damaged_path(path))
    return sum(file.stat().st_size for file in files if file.exists())
