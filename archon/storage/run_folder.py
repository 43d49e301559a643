"""Folders of runs: one run each, described by a file, locked while it is written."""

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


class BaseRunFolder:
    """A folder that holds one run, or will; a subclass says of which kind.

    Opening a folder never overwrites: files of other programs are refused, and ``check_same``
    refuses to resume another run.
    """

    kind: ClassVar[str]
    """What the run is, in messages: ``run`` or ``training``."""
    description: ClassVar[str]
    """The file that says what was asked for."""
    required_key: ClassVar[str]
    """A key of every such file."""
    marks: ClassVar[frozenset[str]]
    """Files of which any shows that a run was begun."""
    files: ClassVar[frozenset[str]]
    """Everything that a run may write. Without a mark it counts as a run's only next to a lock."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def holds_run(self) -> bool:
        """Whether a run was begun here."""
        return not names_in(self.path).isdisjoint(self.marks)

    @classmethod
    def make(cls, path: Path) -> None:
        """Make the folder of a run where it is missing.

        Raises
        ------
        UsageError
            The folder cannot be made, or holds other files and no run.
        """
        names = names_in(path)
        others = names - {LOCK} - {f"{name}.part" for name in cls.files}
        if LOCK in names:
            others -= cls.files
        if others and names.isdisjoint(cls.marks):
            raise UsageError(
                f"{path} is not empty and holds no {cls.kind} (it has {shown(min(others))}); "
                "choose a new or an empty folder for the output"
            )
        make_folder(path)

    def check_new(self) -> None:
        """Refuse a folder in which a run was begun.

        Raises
        ------
        UsageError
            There is a run.
        """
        if self.holds_run:
            raise UsageError(
                f"{self.path} holds a {self.kind} already; choose another folder for the output, "
                "or continue it with --resume"
            )

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes from writing here; see ``archon.storage.lock.locked``."""
        return locked(self.path, self.kind)

    def read_description(self) -> dict[str, Any]:
        """What was asked for.

        Raises
        ------
        UsageError
            The folder holds no run, or its description is damaged.
        """
        path = self.path / self.description
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            reason = f"no {self.description} ({os_reason(error)})"
            raise UsageError(f"{self.path} holds no {self.kind}: {reason}") from None
        except ValueError as error:
            raise UsageError(f"{path} is damaged: {error}") from None
        except RecursionError:
            raise UsageError(f"{path} is damaged: nested too deep") from None
        if not isinstance(data, dict) or self.required_key not in data:
            raise UsageError(f"{path} does not describe a {self.kind}")
        return data

    def write_description(self, data: Mapping[str, Any]) -> None:
        """Write what was asked for."""
        write_json(self.path / self.description, data)

    def check_same(self, there: Any, wanted: Any) -> None:
        """Refuse to resume a run that is not the wanted one.

        Parameters
        ----------
        there
            What the description says, or a part of it.
        wanted
            The same of the wanted run.

        Raises
        ------
        UsageError
            Lists where the two differ.
        """
        found = list(differences(there, json.loads(json.dumps(wanted))))
        if found:
            more = len(found) - _MAX_DIFFERENCES
            lines = found[:_MAX_DIFFERENCES] + ([f"and {more} more"] if more > 0 else [])
            raise UsageError(
                f"{self.path} holds another {self.kind}, which cannot be resumed as this one:\n  "
                + "\n  ".join(lines)
            )


def make_folder(path: Path) -> None:
    """Make a folder where it is missing.

    Raises
    ------
    UsageError
        It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {path}: {os_reason(error)}") from None
    except ValueError as error:  # a null byte
        raise UsageError(f"cannot make the folder {shown(str(path))}: {error}") from None
