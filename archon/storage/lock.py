"""File locks, which let only one process at a time write to a folder or a file."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import filelock

from archon.errors import StorageError, UsageError, os_reason

LOCK = ".lock"
"""Name of the lock file in a folder."""


def acquire(path: Path, on_busy: Callable[[], None]) -> AbstractContextManager[Any]:
    """Acquire the lock file ``path``; return a context manager that releases it on exit.

    The lock is also released when the process ends.

    Parameters
    ----------
    on_busy
        Called if another process has the lock. It can raise an error to give up; if it returns,
        this function waits for the lock.

    Raises
    ------
    OSError
        The lock file cannot be created.
    """
    lock = filelock.FileLock(path)
    try:
        # Not 0: ``is_locked`` of another process may hold the lock for a moment.
        return lock.acquire(timeout=0.1, poll_interval=0.02)
    except filelock.Timeout:
        on_busy()
        return lock.acquire()


@contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Lock a folder against other writers while the block runs.

    Parameters
    ----------
    what
        The content of the folder, for the error message, such as ``run``.

    Raises
    ------
    UsageError
        Another process is writing.
    StorageError
        The lock file cannot be created.
    """

    def refuse() -> None:
        raise UsageError(
            f"another process is writing the {what} {folder}; wait until it has finished, or "
            "choose another folder"
        )

    try:
        lock = acquire(folder / LOCK, refuse)
    except OSError as error:
        raise StorageError(f"cannot write {folder / LOCK}: {os_reason(error)}") from None
    with lock:
        yield


def is_locked(folder: Path) -> bool:
    """Return whether a process holds the lock of a folder (``locked``), without waiting for it.

    The folder is not changed. The lock is shared with other callers of this function.
    """
    try:
        file = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # never locked, or not readable
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)  # which also unlocks it
    return False
