"""One process at a time writes into a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from archon.errors import StorageError, UsageError, os_reason

LOCK = ".lock"


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Keep other processes from writing there; the lock dies with its holder.

    Parameters
    ----------
    what : the folder holds, for messages.

    Raises
    ------
    UsageError : another process is writing.
    StorageError : the lock cannot be made.
    """
    lock = filelock.FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UsageError(f"another process is writing the {what} {folder}") from None
    except OSError as error:
        raise StorageError(f"cannot write {folder / LOCK}: {os_reason(error)}") from None
    try:
        yield
    finally:
        lock.release()
