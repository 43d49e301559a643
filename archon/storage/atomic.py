"""Files that are whole or not there, and that a power failure does not take back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archon.errors import StorageError, os_reason


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a file whole or not at all.

    Raises
    ------
    StorageError : the disk does not take it.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            json.dump(data, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {os_reason(error)}") from None


def names_in(path: Path) -> set[str]:
    """The names in a folder; none where there is no folder that can be listed."""
    try:
        return {entry.name for entry in path.iterdir()}
    except (OSError, ValueError):  # not there, no folder, not ours to read, a null byte
        return set()


def sync_folder(path: Path) -> None:
    """Make sure that the names of a folder's files are on the disk."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
