"""The folder of an evaluation run.

::

    run.json        what was asked for, of which architecture and benchmark, on which machine
    journal         every finished answer with its trace (``archon.evals.journal``)
    report.json     the result so far, computed from the other two
    ablations/      with ``--ablate``: such a folder for each node that was left out
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archon.errors import UsageError, os_reason
from archon.spec.messages import shown
from archon.storage.atomic import names_in, write_json
from archon.storage.run_folder import BaseRunFolder

RUN, JOURNAL, REPORT, ABLATIONS = "run.json", "journal", "report.json", "ablations"


class RunFolder(BaseRunFolder):
    """The folder of one evaluation run."""

    kind, description, required_key = "run", RUN, "specification"
    marks = files = frozenset({RUN, JOURNAL, REPORT})

    def __init__(self, path: Path, *, is_named_here: bool = False) -> None:
        super().__init__(path)
        self._is_named_here = is_named_here

    @classmethod
    def create(cls, path: Path | None, name: str) -> RunFolder:
        """Make the folder of a new run.

        Parameters
        ----------
        path
            The folder itself; None makes a new one in ``runs``, named by the time and ``name``.

        Raises
        ------
        UsageError
            The folder holds a run already, or cannot be made.
        """
        if path is None:
            return cls(_new_folder(Path("runs"), name), is_named_here=True)
        folder = cls.resume(path)
        folder.check_new()
        return folder

    @classmethod
    def resume(cls, path: Path) -> RunFolder:
        """The folder of a run that may have been begun; made where it is missing.

        Raises
        ------
        UsageError
            The folder cannot be made, or holds files and no run.
        """
        cls.make(path)
        return cls(path)

    def discard_unused(self) -> None:
        """Remove an empty folder that was named by ``create``."""
        if self._is_named_here:
            with contextlib.suppress(OSError):  # it is not empty
                self.path.rmdir()

    @property
    def journal(self) -> Path:
        """The journal's path."""
        return self.path / JOURNAL

    def ablation(self, node: str) -> RunFolder:
        """The folder of the run without a node, made where it is missing."""
        return self.resume(self.path / ABLATIONS / node)

    def check_identity(self, wanted: Mapping[str, Any], parts: Sequence[str]) -> None:
        """Refuse to resume a run that differs in any of these parts of its description.

        Raises
        ------
        UsageError
            Lists where the two differ.
        """
        there = self.read_description()
        self.check_same({p: there.get(p) for p in parts}, {p: wanted[p] for p in parts})

    def write_report(self, data: Mapping[str, Any]) -> None:
        """Write the result."""
        write_json(self.path / REPORT, data)


def check_comparison_folder(path: Path, names: Sequence[str], *, resume: bool) -> None:
    """See that the folder of a comparison is new, empty, or holds this comparison to be resumed.

    Parameters
    ----------
    names
        The folders within, one for each run.

    Raises
    ------
    UsageError
        It is another folder.
    """
    there = names_in(path)
    if not there:
        return
    if there.isdisjoint(names):
        raise UsageError(
            f"{path} is not empty and holds no such comparison (it has {shown(min(there))}); "
            "choose a new or an empty folder for the output"
        )
    if not resume:
        raise UsageError(
            f"{path} holds a comparison already; choose another folder, or continue it with "
            "--resume"
        )


def _new_folder(root: Path, name: str) -> Path:
    """A new folder named by the time in UTC and, made fit for any file system, ``name``."""
    safe = re.sub(r"[^A-Za-z0-9._]+", "-", name)[:100].strip("-.")
    stem = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{safe}"
    number = 1
    try:
        root.mkdir(parents=True, exist_ok=True)
        while True:
            path = root / (stem if number == 1 else f"{stem}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                number += 1
            else:
                return path
    except OSError as error:
        reason = f"cannot create the folder {root.absolute()}: {os_reason(error)}"
        raise UsageError(reason) from None
