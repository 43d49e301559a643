"""Looking at the pool's file and emptying it, while others may be using it."""

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
    """What a pool holds of one model; ``bytes`` of its draws, not of the file."""

    model: str
    draws: int
    bytes: int


@dataclass(frozen=True, slots=True)
class PoolContents:
    """What a pool holds; the file is larger by the room that draws left behind."""

    models: tuple[ModelDraws, ...] = ()
    file_bytes: int = 0
    readable: bool = True

    @property
    def draws(self) -> int:
        return sum(model.draws for model in self.models)


def contents(path: Path) -> PoolContents:
    """What the file holds, by model; an empty pool where there is no file.

    Raises
    ------
    UsageError : it cannot be opened.
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
    """Forget every draw. Who uses the file meanwhile goes on with the empty one.

    Returns
    -------
    The number of bytes freed.

    Raises
    ------
    UsageError : the file cannot be written.
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
    """The file is emptied, not deleted: another process may be writing to it."""
    try:
        with closing(connect(path)) as connection:
            # A full disk has no room for a journal, and where this is cut off only that is damaged
            # which was to be cleared; so nothing may stop it once it has begun.
            connection.execute("PRAGMA journal_mode = OFF")
            # Tables go page by page, while each row deleted would set off its trigger.
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
