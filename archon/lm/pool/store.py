"""The pool's file, a SQLite database of samples with limited size.

It uses a rollback journal, because SQLite versions before 3.51.3 may damage a database with a
write-ahead log if several processes use it.

A problem with the file does not stop a run. A damaged file is moved and replaced with a new one. If
the file cannot be written, the run only reads samples from it. If it cannot be read, the run does
not use it.
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
from archon.lm.pool import completion_codec
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
"""Tables of the file. Triggers update ``totals``, so ``archon cache ls`` need not read all rows."""

_ROW_BYTES = 100
"""Estimated bytes per row, including both index entries but not its texts and payload.
"""
_KEPT_SHARE = 0.95
"""Share of the size limit to which a file that exceeds it is reduced, so that evictions are rare.
"""
_MAX_TOUCHED = 1000
_MAX_KEYS_PER_QUERY = 500
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@dataclass(frozen=True, slots=True)
class StoredSample:
    """A completion and its origin, which is the item of a run for which it was generated."""

    completion: Completion
    origin: str


@dataclass(frozen=True, slots=True)
class NewSample:
    """A sample to be stored.

    ``key`` is a digest of everything that the sample depends on; ``model`` is the model's name.
    """

    key: bytes
    model: str
    sample: StoredSample


def pool_path() -> Path:
    """Return the path of the pool's file, ``ARCHON_POOL`` or a file in the user's cache."""
    chosen = os.environ.get("ARCHON_POOL")
    return Path(chosen).expanduser() if chosen else cache_dir() / "draws.sqlite3"


def max_pool_bytes() -> int:
    """Return the maximum size of the pool's file, ``ARCHON_POOL_BYTES`` or 2 GB.

    Raises
    ------
    UsageError
        The variable is not a number of bytes.
    """
    given = os.environ.get("ARCHON_POOL_BYTES", "").strip()
    if not given:
        return DEFAULT_BYTES
    if not (given.isascii() and given.isdigit() and len(given) <= 18):
        raise UsageError(f"ARCHON_POOL_BYTES must be a number of bytes, not {given!r}")
    return int(given)


class SampleStore:
    """Reads and writes the pool's file. Only one thread per process may use it.

    Parameters
    ----------
    path
        Path of the file, which is created on first use.
    max_bytes
        Maximum size of the file in bytes. If it is exceeded, the least recently used samples are
        deleted.
    clock
        Function that returns the time in seconds since the epoch.
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

    def get(self, keys: Sequence[bytes]) -> dict[bytes, StoredSample]:
        """Return the stored samples for these keys, and mark them as used."""
        if not self._reads or not keys:
            return {}
        rows = self._guarded(lambda: self._select(keys))
        if rows is None:
            self._reads = self._writes = False
            return {}
        found: dict[bytes, StoredSample] = {}
        for key, origin, data in rows:
            with suppress(ValueError):  # an unreadable sample is generated and stored again
                found[key] = StoredSample(completion_codec.decode(data), origin)
        self._touched.update(dict.fromkeys(found, self._clock()))
        if len(self._touched) >= _MAX_TOUCHED:
            self.put([])
        return found

    def put(self, samples: Sequence[NewSample]) -> None:
        """Store samples. If the file becomes too large, delete the least recently used samples.

        Stored samples with the same keys are replaced.
        """
        if not self._writes:
            return
        now = self._clock()
        rows = [_row(new, now) for new in {new.key: new for new in samples}.values()]
        if self._guarded(lambda: self._insert(rows)) is None:
            self._writes = False

    def close(self) -> None:
        """Write the times at which samples were last used, and close the file."""
        if self._touched:
            self.put([])
        self._disconnect()

    # ------------------------------------------------------------------------------ statements

    def _select(self, keys: Sequence[bytes]) -> list[tuple[bytes, str, bytes]]:
        connection, rows = self._connected(), []
        for start in range(0, len(keys), _MAX_KEYS_PER_QUERY):
            some = keys[start : start + _MAX_KEYS_PER_QUERY]
            marks = ",".join("?" * len(some))
            query = f"SELECT key, origin, payload FROM draws WHERE key IN ({marks})"
            rows += connection.execute(query, some).fetchall()
        return rows

    def _insert(self, rows: Sequence[tuple[object, ...]]) -> bool:
        with writing(self._connected()) as connection:
            touched = [(used, key) for key, used in self._touched.items()]
            connection.executemany("UPDATE draws SET used = ? WHERE key = ?", touched)
            # REPLACE would not fire the trigger for deleted rows.
            connection.executemany("DELETE FROM draws WHERE key = ?", [row[:1] for row in rows])
            connection.executemany("INSERT INTO draws VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._evict(connection)
        self._touched.clear()
        return True

    def _evict(self, connection: sqlite3.Connection) -> None:
        num_pages, num_free, page_bytes = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        used_bytes = (num_pages - num_free) * page_bytes
        if used_bytes <= self.max_bytes:
            return
        excess = used_bytes - int(self.max_bytes * _KEPT_SHARE)
        evicted: list[tuple[int]] = []
        with closing(connection.execute("SELECT rowid, size FROM draws ORDER BY used")) as oldest:
            for row, size in oldest:
                evicted.append((row,))
                excess -= size
                if excess <= 0:
                    break
        connection.executemany("DELETE FROM draws WHERE rowid = ?", evicted)

    # ------------------------------------------------------------------------------- the file

    def _guarded(self, action: Callable[[], T]) -> T | None:
        """Return the action's result; if the file makes it fail, log a warning and return None.

        If the file is damaged, it is moved, and the action is repeated with a new file.
        """
        try:
            try:
                return action()
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self._move_damaged(error)
                return action()
        except (sqlite3.Error, OSError) as error:
            self._disconnect()
            logger.warning("%s: %s; samples are no longer stored in this run", self.path, error)
            return None

    def _connected(self) -> sqlite3.Connection:
        """Return the connection to the file. If the file has been replaced, reopen it."""
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

    def _move_damaged(self, error: sqlite3.Error) -> None:
        self._disconnect()
        if _inode(self.path) != self._inode:  # another process has already moved it
            return
        target = damaged_path(self.path)
        self.path.replace(target)
        # SQLite would roll the old journal back into the new file.
        journal_path(self.path).unlink(missing_ok=True)
        logger.warning("%s is damaged (%s); moved to %s", self.path, error, target.name)


def connect(path: Path) -> sqlite3.Connection:
    """Open a pool's file, and create its tables if they are missing.

    The connection may be used only in the current thread.

    Raises
    ------
    sqlite3.Error
        The file cannot be opened or is damaged.
    """
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute("PRAGMA synchronous = NORMAL")
        [(exists,)] = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'draws'")
        if not exists:
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
    """Run the ``with`` block in a transaction that acquires its lock at the beginning."""
    connection.execute(f"BEGIN {lock}")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def make_tables(connection: sqlite3.Connection) -> None:
    """Create missing tables within the current transaction."""
    statement = ""
    for line in SCHEMA.splitlines():  # ``executescript`` would commit the transaction
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


def _row(new: NewSample, now: float) -> tuple[object, ...]:
    data = completion_codec.encode(new.sample.completion)
    texts = len(new.key) + len(new.model.encode()) + len(new.sample.origin.encode())
    size = len(data) + texts + _ROW_BYTES
    return new.key, new.model, new.sample.origin, now, size, data


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def is_damage(error: sqlite3.Error) -> bool:
    """Return True if the error means that the file is not a valid database."""
    # Errors of Python's sqlite3 module itself, such as for a closed connection, have no code.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def journal_path(path: Path) -> Path:
    """Return the path of SQLite's journal of a database file."""
    return path.with_name(path.name + "-journal")


def damaged_path(path: Path) -> Path:
    """Return the path to which a damaged file is moved, replacing any earlier damaged file."""
    return path.with_name(path.name + ".damaged")
