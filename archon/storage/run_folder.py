"""The folder of one run, with a file that describes the run and a lock against other processes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

from archon.errors import UsageError, os_reason
from archon.spec.messages import shown
from archon.storage.atomic import names_in, write_json
from archon.storage.diff import differences
from archon.storage.lock import LOCK, locked

_MAX_DIFFERENCES = 10


def make_folder(path: Path) -> None:
    """Create a folder and its parents, if they are missing.

    Raises
    ------
    UsageError
        The folder cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot create the folder {path}: {os_reason(error)}") from None
    except ValueError as error:  # a null byte
        raise UsageError(f"cannot create the folder {shown(str(path))}: {error}") from None


class BaseRunFolder:
    """Base class for the folder of one run, such as an evaluation or a training run.

    Opening a folder never overwrites anything. ``make`` raises an error if the folder contains
    other files, and ``check_same`` raises an error if the run to be resumed is a different one.
    """

    kind: ClassVar[str]
    """The content of the folder, for messages, such as ``run`` or ``training``."""
    description: ClassVar[str]
    """Name of the file that describes the run."""
    required_key: ClassVar[str]
    """A key that every description must have."""
    marks: ClassVar[frozenset[str]]
    """Names of files that show that a run has started. One of them is sufficient."""
    files: ClassVar[frozenset[str]]
    """Names of all files that a run may write. If the folder contains none of ``marks``, they count
    as files of a run only if there is a lock file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def holds_run(self) -> bool:
        """True if a run has started in this folder."""
        return not names_in(self.path).isdisjoint(self.marks)

    @classmethod
    def make(cls, path: Path) -> None:
        """Create the folder of a run if it is missing.

        Raises
        ------
        UsageError
            The folder cannot be created, or it contains other files and no run.
        """
        names = names_in(path)
        others = names - {LOCK} - {f"{name}.part" for name in cls.files}
        if LOCK in names:
            others -= cls.files
        if others and names.isdisjoint(cls.marks):
            raise UsageError(
                f"{path} is not empty and does not contain a {cls.kind} (it has the file "
                f"{shown(min(others))}); choose a new or an empty folder for the output"
            )
        make_folder(path)

    def check_new(self) -> None:
        """Check that no run has started in this folder.

        Raises
        ------
        UsageError
            A run has started.
        """
        if self.holds_run:
            raise UsageError(
                f"{self.path} already contains a {self.kind}; choose another folder for the "
                "output, or continue it with --resume"
            )

    def locked(self) -> AbstractContextManager[None]:
        """Lock the folder against other writers; see ``archon.storage.lock.locked``."""
        return locked(self.path, self.kind)

    def read_description(self) -> dict[str, Any]:
        """Read the description of the run.

        Raises
        ------
        UsageError
            The folder does not contain a run, or the description is damaged.
        """
        path = self.path / self.description
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(
                f"{self.path} does not contain a {self.kind}: {self.description} cannot be read "
                f"({os_reason(error)})"
            ) from None
        except ValueError as error:
            raise UsageError(f"{path} is damaged: {error}") from None
        except RecursionError:
            raise UsageError(f"{path} is damaged: it is nested too deeply") from None
        if not isinstance(data, dict) or self.required_key not in data:
            raise UsageError(
                f"{path} does not describe a {self.kind}: it is not an object with the key "
                f"{self.required_key!r}"
            )
        return data

    def write_description(self, data: Mapping[str, Any]) -> None:
        """Write the description of the run."""
        write_json(self.path / self.description, data)

    def check_same(self, stored: Any, wanted: Any) -> None:
        """Check that the run to be resumed matches the stored run.

        Parameters
        ----------
        stored
            The stored description, or a part of it.
        wanted
            The description of the run to be resumed, or the same part of it.

        Raises
        ------
        UsageError
            The two differ; the message lists the differences.
        """
        found = list(differences(stored, json.loads(json.dumps(wanted))))
        if found:
            more = len(found) - _MAX_DIFFERENCES
            lines = found[:_MAX_DIFFERENCES] + ([f"and {more} more"] if more > 0 else [])
            raise UsageError(
                f"{self.path} contains another {self.kind}, which cannot be resumed as this one:"
                + "".join(f"\n  {line}" for line in lines)
            )
