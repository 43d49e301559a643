"""File locks, so that one process at a time writes a folder or a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import filelock

from archon.errors import StorageError, UsageError, os_reason

LOCK = ".lock"
"""The lock file of a folder."""


def acquire(path: Path, on_busy: Callable[[], None]) -> AbstractContextManager[Any]:
    """Acquire the lock file ``path``. The end of a ``with`` block or of the process releases it.

    Parameters
    ----------
    on_busy
        Called if another process holds the lock. It may raise an error to give up; if it returns,
        this call waits for the lock.

    Raises
    ------
    OSError
        The lock file cannot be created.
    """
    lock = filelock.FileLock(path)
    try:
        return lock.acquire(timeout=0)
    except filelock.Timeout:
        on_busy()
        return lock.acquire()


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Lock a folder against other writers while the block runs.

    Parameters
    ----------
    what
        Name of the folder's content in the error message.

    Raises
    ------
    UsageError
        Another process is writing.
    StorageError
        The lock file cannot be created.
    """

    def refuse() -> None:
        raise UsageError(f"another process is writing the {what} {folder}")

    try:
        lock = acquire(folder / LOCK, refuse)
    except OSError as error:
        raise StorageError(f"cannot write {folder / LOCK}: {os_reason(error)}") from None
    with lock:
        yield
