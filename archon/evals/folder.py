"""The folder of an evaluation run.

::

    run.json        architecture, benchmark, items and machine
    journal         every finished answer with its trace (``archon.evals.journal``)
    report.json     the result so far, computed from the other two
    ablations/      with ``--ablate``: such a folder for each bypassed node
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

    def __init__(self, path: Path, *, has_default_name: bool = False) -> None:
        super().__init__(path)
        self._has_default_name = has_default_name

    @classmethod
    def create(cls, path: Path | None, name: str) -> RunFolder:
        """Create the folder of a new run.

        Parameters
        ----------
        path
            The folder; None creates one in ``runs``, named by the time and ``name``.

        Raises
        ------
        UsageError
            The folder holds a run already, or cannot be created.
        """
        if path is None:
            return cls(_new_folder(Path("runs"), name), has_default_name=True)
        folder = cls.resume(path)
        folder.check_new()
        return folder

    @classmethod
    def resume(cls, path: Path) -> RunFolder:
        """Open the folder of a run; create it if it does not exist.

        Raises
        ------
        UsageError
            The folder cannot be created, or holds files but no run.
        """
        cls.make(path)
        return cls(path)

    def discard_unused(self) -> None:
        """Remove the folder if ``create`` named it and it is empty."""
        if self._has_default_name:
            with contextlib.suppress(OSError):  # it is not empty
                self.path.rmdir()

    @property
    def journal(self) -> Path:
        """The journal's path."""
        return self.path / JOURNAL

    def ablation(self, node: str) -> RunFolder:
        """Open the folder of the run without a node; create it if it does not exist."""
        return self.resume(self.path / ABLATIONS / node)

    def check_identity(self, wanted: Mapping[str, Any], parts: Sequence[str]) -> None:
        """Refuse to resume a run whose description differs in one of these parts.

        Raises
        ------
        UsageError
            Lists the differences.
        """
        stored = self.read_description()
        self.check_same({p: stored.get(p) for p in parts}, {p: wanted[p] for p in parts})

    def write_report(self, data: Mapping[str, Any]) -> None:
        """Write the result of the run."""
        write_json(self.path / REPORT, data)


def check_comparison_folder(path: Path, names: Sequence[str], *, resume: bool) -> None:
    """Check that the folder of a comparison is new, empty, or holds this comparison to be resumed.

    Parameters
    ----------
    names
        The folders in it, one per run.

    Raises
    ------
    UsageError
        The folder is none of these.
    """
    found = names_in(path)
    if not found:
        return
    if found.isdisjoint(names):
        raise UsageError(
            f"{path} is not empty and holds no such comparison (it has {shown(min(found))}); "
            "choose a new or an empty folder for the output"
        )
    if not resume:
        raise UsageError(
            f"{path} already holds a comparison; choose another folder, or continue it with "
            "--resume"
        )


def _new_folder(root: Path, name: str) -> Path:
    """Create a folder named by the time in UTC and ``name``, with characters safe in file names."""
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
