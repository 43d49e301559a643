"""The file of the pool: a SQLite data base of draws, bounded in bytes.

It keeps a rollback journal, since SQLite before 3.51.3 may damage a data base with a write-ahead
log that several processes use. Nothing that happens to the file makes a run fail: a damaged one is
set aside and begun anew; where it cannot be written the run goes on with what it finds, where it
cannot be read without it.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from archon.errors import UsageError
from archon.lm.pool import payload
from archon.types import Completion
from archon.weights import cache_dir

logger = logging.getLogger("archon.lm")
T = TypeVar("T")

DEFAULT_BYTES = 2_000_000_000
SCHEMA = """
CREATE TABLE IF NOT EXISTS draws (
    key BLOB PRIMARY KEY, model TEXT NOT NULL, origin TEXT NOT NULL,
    used REAL NOT NULL, size INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS draws_by_use ON draws (used);
CREATE TABLE IF NOT EXISTS totals (
    model TEXT PRIMARY KEY, draws INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE TRIGGER IF NOT EXISTS draw_added AFTER INSERT ON draws BEGIN
    INSERT INTO totals VALUES (new.model, 1, new.size)
    ON CONFLICT (model) DO UPDATE SET draws = draws + 1, bytes = bytes + new.size;
END;
CREATE TRIGGER IF NOT EXISTS draw_removed AFTER DELETE ON draws BEGIN
    UPDATE totals SET draws = draws - 1, bytes = bytes - old.size WHERE model = old.model;
END;
"""
"""Triggers keep ``totals``, so that ``archon cache ls`` need not read all rows."""

_ROW_BYTES = 100
"""What a row takes besides its texts and its payload, its places in two indices included."""
_KEPT_SHARE = 0.95
"""A pool that has grown past its bound is cut to this share of it: not at every draw."""
_MOST_TOUCHED = 1000
_MOST_AT_ONCE = 500
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@dataclass(frozen=True, slots=True)
class Draw:
    """A draw as it was made, and for whom."""

    completion: Completion
    origin: str


@dataclass(frozen=True, slots=True)
class NewDraw:
    """A draw to be stored, under a key that tells all that it depends on."""

    key: bytes
    model: str
    draw: Draw


def pool_path() -> Path:
    """Where the pool of this user lies: in the cache, or where ``ARCHON_POOL`` says."""
    chosen = os.environ.get("ARCHON_POOL")
    return Path(chosen).expanduser() if chosen else cache_dir() / "draws.sqlite3"


def max_pool_bytes() -> int:
    """The bound of the pool: ``ARCHON_POOL_BYTES``, or 2 GB.

    Raises
    ------
    UsageError : the variable holds no number of bytes.
    """
    given = os.environ.get("ARCHON_POOL_BYTES", "").strip()
    if not given:
        return DEFAULT_BYTES
    if not (given.isascii() and given.isdigit() and len(given) <= 18):
        raise UsageError(f"ARCHON_POOL_BYTES must be a number of bytes, not {given!r}")
    return int(given)


class DrawStore:
    """The pool's file, used from one thread; several processes may use it at once.

    Parameters
    ----------
    path : the file; it is made with the first draw asked for or stored.
    max_bytes : of the file; draws used least recently make room where it would grow further.
    clock : seconds since the epoch.
    """

    def __init__(
        self, path: Path, max_bytes: int, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.path, self.max_bytes = path, max_bytes
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._touched: dict[bytes, float] = {}
        self._reads = self._writes = True

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Draw]:
        """The draws that are there; they count as used now."""
        if not self._reads or not keys:
            return {}
        rows = self._guarded(lambda: self._select(keys))
        if rows is None:
            self._reads = self._writes = False
            return {}
        found: dict[bytes, Draw] = {}
        for key, origin, data in rows:
            with suppress(ValueError):  # what cannot be read will be made and stored again
                found[key] = Draw(payload.decode(data), origin)
        self._touched.update(dict.fromkeys(found, self._clock()))
        if len(self._touched) >= _MOST_TOUCHED:
            self.put([])
        return found

    def put(self, draws: Sequence[NewDraw]) -> None:
        """Store draws, in the place of any under the same keys, and make room for them.

        Of several under one key the last stays.
        """
        if not self._writes:
            return
        now = self._clock()
        rows = [_row(new, now) for new in {new.key: new for new in draws}.values()]
        if self._guarded(lambda: self._insert(rows)) is None:
            self._writes = False

    def close(self) -> None:
        """Write down what was used, and close the file."""
        if self._touched:
            self.put([])
        self._disconnect()

    # ------------------------------------------------------------------------------ statements

    def _select(self, keys: Sequence[bytes]) -> list[tuple[bytes, str, bytes]]:
        connection, rows = self._connected(), []
        for start in range(0, len(keys), _MOST_AT_ONCE):
            some = keys[start : start + _MOST_AT_ONCE]
            marks = ",".join("?" * len(some))
            query = f"SELECT key, origin, payload FROM draws WHERE key IN ({marks})"
            rows += connection.execute(query, some).fetchall()
        return rows

    def _insert(self, rows: Sequence[tuple[object, ...]]) -> bool:
        with writing(self._connected()) as connection:
            touched = [(used, key) for key, used in self._touched.items()]
            connection.executemany("UPDATE draws SET used = ? WHERE key = ?", touched)
            # REPLACE would not set off the trigger of what it deletes.
            connection.executemany("DELETE FROM draws WHERE key = ?", [row[:1] for row in rows])
            connection.executemany("INSERT INTO draws VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._make_room(connection)
        self._touched.clear()
        return True

    def _make_room(self, connection: sqlite3.Connection) -> None:
        num_pages, num_free, page_bytes = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        held_bytes = (num_pages - num_free) * page_bytes
        if held_bytes <= self.max_bytes:
            return
        excess = held_bytes - int(self.max_bytes * _KEPT_SHARE)
        leaving: list[tuple[int]] = []
        with closing(connection.execute("SELECT rowid, size FROM draws ORDER BY used")) as oldest:
            for row, size in oldest:
                leaving.append((row,))
                excess -= size
                if excess <= 0:
                    break
        connection.executemany("DELETE FROM draws WHERE rowid = ?", leaving)

    # ------------------------------------------------------------------------------- the file

    def _guarded(self, action: Callable[[], T]) -> T | None:
        """What the action returns; None, and a warning, where the file does not let it.

        A damaged file is set aside, and the action tried once more on a fresh one.
        """
        try:
            try:
                return action()
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self._set_aside(error)
                return action()
        except (sqlite3.Error, OSError) as error:
            self._disconnect()
            logger.warning("%s: %s; draws are not kept any more in this run", self.path, error)
            return None

    def _connected(self) -> sqlite3.Connection:
        """The connection, made anew where the file under it was taken away."""
        if self._connection is not None and _inode(self.path) != self._inode:
            self._disconnect()
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._inode = _inode(self.path)
            self._connection = connect(self.path)
            self._inode = _inode(self.path)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _set_aside(self, error: sqlite3.Error) -> None:
        self._disconnect()
        if _inode(self.path) != self._inode:  # another process has done it already
            return
        aside = damaged_path(self.path)
        self.path.replace(aside)
        # A journal left behind would be played back into the fresh file.
        journal_path(self.path).unlink(missing_ok=True)
        logger.warning("%s is damaged (%s); it is now %s", self.path, error, aside.name)


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, making what is missing in it; the connection belongs to this thread.

    Raises
    ------
    sqlite3.Error : it cannot be opened, or is damaged.
    """
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute("PRAGMA synchronous = NORMAL")
        [(known,)] = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'draws'")
        if not known:
            with writing(connection):
                make_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def writing(
    connection: sqlite3.Connection, lock: Literal["IMMEDIATE", "EXCLUSIVE"] = "IMMEDIATE"
) -> Iterator[sqlite3.Connection]:
    """One transaction, which waits for its turn before it begins."""
    connection.execute(f"BEGIN {lock}")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def make_tables(connection: sqlite3.Connection) -> None:
    """Make what is missing, within the transaction that is under way."""
    statement = ""
    for line in SCHEMA.splitlines():  # ``executescript`` would commit the transaction
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


def _row(new: NewDraw, now: float) -> tuple[object, ...]:
    data = payload.encode(new.draw.completion)
    texts = len(new.key) + len(new.model.encode()) + len(new.draw.origin.encode())
    size = len(data) + texts + _ROW_BYTES
    return new.key, new.model, new.draw.origin, now, size, data


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is no data base, or one whose pages contradict each other."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def journal_path(path: Path) -> Path:
    """The journal that SQLite keeps beside a file."""
    return path.with_name(path.name + "-journal")


def damaged_path(path: Path) -> Path:
    """Where a damaged file is put; the last one stays."""
    return path.with_name(path.name + ".damaged")
