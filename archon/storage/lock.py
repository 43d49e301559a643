"""File locks: one process at a time writes a folder or a file."""

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
    """Acquire the lock file ``path``; leaving the result's block releases it, as does a crash.

    Parameters
    ----------
    on_busy
        Called if another process holds the lock. It raises an error to give up; if it returns, the
        lock is waited for.

    Raises
    ------
    OSError
        The lock file cannot be made.
    """
    lock = filelock.FileLock(path)
    try:
        return lock.acquire(timeout=0)
    except filelock.Timeout:
        on_busy()
        return lock.acquire()


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Keep other processes from writing a folder while the block runs.

    Parameters
    ----------
    what
        Names the content of the folder in the error message.

    Raises
    ------
    UsageError
        Another process is writing.
    StorageError
        The lock file cannot be made.
    """

    def refuse() -> None:
        raise UsageError(f"another process is writing the {what} {folder}")

    try:
        lock = acquire(folder / LOCK, refuse)
    except OSError as error:
        raise StorageError(f"cannot write {folder / LOCK}: {os_reason(error)}") from None
    with lock:
        yield
