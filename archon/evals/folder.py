"""The folder of an evaluation run.

::

    run.json        the description of the run: architecture, benchmark, items, machine journal
    every finished answer with its trace (``archon.evals.journal``) report.json     the result,
    which can be computed from the other two files ablations/      with ``--ablate``: a folder like
    this one for each bypassed node
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
            The folder. If None, a folder is created in ``runs``, named after the current time and
            ``name``.

        Raises
        ------
        UsageError
            The folder cannot be created, or already contains a run or other files.
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
            The folder cannot be created, or contains other files and no run.
        """
        cls.make(path)
        return cls(path)

    def discard_unused(self) -> None:
        """Remove the folder if it is empty and ``create`` chose its name."""
        if self._has_default_name:
            with contextlib.suppress(OSError):  # it is not empty
                self.path.rmdir()

    @property
    def journal(self) -> Path:
        """The path of the journal."""
        return self.path / JOURNAL

    def ablation(self, node: str) -> RunFolder:
        """Open the folder of the run that bypasses ``node``; create it if it does not exist."""
        return self.resume(self.path / ABLATIONS / node)

    def check_identity(self, wanted: Mapping[str, Any], parts: Sequence[str]) -> None:
        """Check that the run in the folder matches the wanted run, so that it can be resumed.

        Parameters
        ----------
        wanted
            The description of the wanted run.
        parts
            The keys of the description that must match.

        Raises
        ------
        UsageError
            The descriptions differ; the error lists the differences.
        """
        stored = self.read_description()
        self.check_same({p: stored.get(p) for p in parts}, {p: wanted[p] for p in parts})

    def weights(self) -> dict[str, str]:
        """Return the digests of the weights that answered so far, by role."""
        found: dict[str, str] = self.read_description().get("weights", {})
        return found

    def check_weights(self, now: Mapping[str, str]) -> None:
        """Check that models have the weights that answered so far, and record those of others.

        A branch on the hub may move and a file be replaced, while the run's specification stays
        the same.

        Parameters
        ----------
        now
            Role → digest of its model's weights (``Architecture.weights_digests``).

        Raises
        ------
        UsageError
            A model has other weights than when the run began.
        """
        before = self.weights()
        for role in sorted(before.keys() & now.keys()):
            if before[role] != now[role]:
                raise UsageError(
                    f"{self.path}: the weights of model {role!r} have changed since the run began "
                    f"(SHA-256 {before[role]}, now {now[role]}), and answers of different models "
                    "must not be mixed. Restore the old weights, or start a new run in another "
                    "folder"
                )
        if not now.keys() <= before.keys():
            self.write_description({**self.read_description(), "weights": {**now, **before}})

    def write_report(self, data: Mapping[str, Any]) -> None:
        """Write the report of the run to ``report.json``."""
        write_json(self.path / REPORT, data)


def run_folder(path: Path | None, name: str, *, resume: bool) -> RunFolder:
    """Create the folder for a new run, or open the folder of the run to resume.

    Raises
    ------
    UsageError
        The folder cannot be created. It contains a run, but ``resume`` is not set. Or ``resume`` is
        set without a path.
    """
    if not resume:
        return RunFolder.create(path, name)
    if path is None:
        raise UsageError("to resume a run, set the output to its folder")
    return RunFolder.resume(path)


def check_comparison_folder(path: Path, names: Sequence[str], *, resume: bool) -> None:
    """Check that a comparison can be written to a folder.

    The folder must be missing or empty or, with ``resume``, contain this comparison.

    Parameters
    ----------
    names
        The names of the runs' folders in it.

    Raises
    ------
    UsageError
        The folder contains other files, or it contains a comparison and ``resume`` is False.
    """
    found = names_in(path)
    if not found:
        return
    if found.isdisjoint(names):
        raise UsageError(
            f"{path} is not empty and does not contain this comparison (it contains "
            f"{shown(min(found))}); choose a new or an empty folder for the output"
        )
    if not resume:
        raise UsageError(
            f"{path} already contains a comparison; choose another folder, or continue it with "
            "--resume"
        )


def _new_folder(root: Path, name: str) -> Path:
    """Create a folder named after the current UTC time and ``name``, without special characters."""
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
