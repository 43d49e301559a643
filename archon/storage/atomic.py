"""Atomic writes: a file appears complete or not at all, and survives a power failure."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archon.errors import StorageError, os_reason


@contextlib.contextmanager
def replacing(path: Path, *, concurrent: bool = False) -> Iterator[Path]:
    """Yield the path of a temporary file that replaces ``path`` if the block succeeds.

    The temporary file is in the same folder, so the replacement is atomic: readers see either the
    old content or the new one, never an incomplete file. The file is flushed to the disk before it
    replaces ``path``, and the folder is flushed afterwards. If the block fails, ``path`` is
    unchanged and the temporary file is removed. A killed process leaves the temporary file behind.

    Parameters
    ----------
    concurrent
        Whether several processes may write ``path`` at the same time. If so, each process uses a
        separate temporary file, ``NAME.PID.part`` instead of ``NAME.part``.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part" if concurrent else f"{path.name}.part")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def write_json(path: Path, data: Any) -> None:
    """Write plain data to a JSON file atomically (see ``replacing``).

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    try:
        with replacing(path) as part:
            part.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {os_reason(error)}") from None


def names_in(path: Path) -> set[str]:
    """Return the names of the files in a folder, or an empty set if the folder cannot be listed."""
    try:
        return {entry.name for entry in path.iterdir()}
    except (OSError, ValueError):  # missing, not a folder, not readable, or a null byte
        return set()


def sync_folder(path: Path) -> None:
    """Flush a folder's list of files to the disk."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
