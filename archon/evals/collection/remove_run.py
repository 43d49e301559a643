"""Delete stored runs, and nothing else that is in their folders."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from archon.errors import StorageError, UsageError, os_reason
from archon.evals.folder import ABLATIONS, RunFolder
from archon.spec.messages import shown
from archon.storage.atomic import names_in
from archon.storage.lock import LOCK, is_locked

_FILES = {*RunFolder.files, LOCK, ABLATIONS, "view.html"}


@dataclass(frozen=True)
class RemovableRun:
    """A run that can be deleted."""

    path: Path
    num_bytes: int
    """Size of all its files."""

    def remove(self) -> None:
        """Delete the folder of the run.

        Raises
        ------
        UsageError
            A process has begun to write the run.
        StorageError
            A file cannot be deleted.
        """
        try:
            with RunFolder(self.path).locked():
                shutil.rmtree(self.path)
        except OSError as error:
            raise StorageError(f"cannot delete {self.path}: {os_reason(error)}") from None


def removable_run(path: Path) -> RemovableRun:
    """Check that a folder contains a run and nothing else, and that no process is writing it.

    Raises
    ------
    UsageError
        The folder is a link, does not contain a run, contains other files, or is being written.
    """
    if path.is_symlink():
        raise UsageError(f"{path} is a link; give the folder of the run itself")
    if not RunFolder(path).holds_run:
        raise UsageError(f"{path} does not contain a run, so nothing was deleted")
    others = {name for name in names_in(path) if name.removesuffix(".part") not in _FILES}
    if others:
        raise UsageError(
            f"{path} contains {shown(min(others))}, which is not part of the run; move it away "
            "first. Nothing was deleted"
        )
    written = [each for each in (path, *_ablations(path)) if is_locked(each)]
    if written:
        raise UsageError(f"{written[0]} is being written; stop that process first")
    return RemovableRun(path, sum(_size(file) for file in path.rglob("*")))


def _ablations(path: Path) -> list[Path]:
    return [path / ABLATIONS / name for name in sorted(names_in(path / ABLATIONS))]


def _size(file: Path) -> int:
    try:
        return file.lstat().st_size if file.is_file() else 0
    except OSError:
        return 0
