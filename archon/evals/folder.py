"""The folder of a run, which holds everything that is known of it.

::

    run.json        what was asked for, of which architecture and benchmark, on which machine
    journal         every finished answer with all that is behind it (``archon.evals.journal``)
    report.json     the result so far, for scripts; it follows from the other two
    ablations/      with ``--ablate``: a folder like this one for each node that was left out
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archon.errors import UsageError, os_reason
from archon.spec.messages import shown
from archon.storage.atomic import names_in, write_json
from archon.storage.diff import differences
from archon.storage.lock import LOCK

RUN, JOURNAL, REPORT, ABLATIONS = "run.json", "journal", "report.json", "ablations"
_BEFORE_A_RUN = {LOCK, f"{RUN}.part", f"{REPORT}.part"}
"""What a run leaves that is stopped before its first file is whole."""
_MOST_DIFFERENCES = 10


class RunFolder:
    """A folder that is there, and holds a run or will."""

    def __init__(self, path: Path, *, is_ours: bool = False) -> None:
        self.path, self._is_ours = path, is_ours

    @classmethod
    def create(cls, path: Path | None, name: str) -> RunFolder:
        """Make the folder of a new run.

        Parameters
        ----------
        path : the folder itself; None makes a new one in ``runs``, named by the time and ``name``.

        Raises
        ------
        UsageError : the folder holds a run already, or cannot be made.
        """
        if path is None:
            return cls(_new_folder(Path("runs"), name), is_ours=True)
        folder = cls.resume(path)
        if folder.holds_run:
            raise UsageError(
                f"{path} holds a run already; choose another folder, or go on there with --resume"
            )
        return folder

    @classmethod
    def resume(cls, path: Path) -> RunFolder:
        """The folder of a run that may have been begun; made where it is missing.

        Raises
        ------
        UsageError : the folder cannot be made, or holds files and no run.
        """
        folder = cls(path)
        others = names_in(path) - _BEFORE_A_RUN
        if others and not folder.holds_run:
            raise UsageError(
                f"{path} is not empty and holds no run (it has {shown(min(others))}); choose a new "
                "or an empty folder for the output"
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make the folder {path}: {os_reason(error)}") from None
        except ValueError as error:  # a null byte
            raise UsageError(f"cannot make the folder {shown(str(path))}: {error}") from None
        return folder

    def discard_unused(self) -> None:
        """Remove a folder that got its name from us and nothing else."""
        if self._is_ours:
            with contextlib.suppress(OSError):  # it is not empty
                self.path.rmdir()

    @property
    def holds_run(self) -> bool:
        """Whether anything of a run is there."""
        return not names_in(self.path).isdisjoint((RUN, JOURNAL, REPORT))

    @property
    def journal(self) -> Path:
        """The journal's path."""
        return self.path / JOURNAL

    def ablation(self, node: str) -> RunFolder:
        """The folder of the run without a node, made where it is missing."""
        return self.resume(self.path / ABLATIONS / node)

    def read_run(self) -> dict[str, Any]:
        """What was asked for.

        Raises
        ------
        UsageError : the folder holds no run.
        """
        try:
            data = json.loads((self.path / RUN).read_text(encoding="utf-8"))
        except OSError as error:
            reason = f"{self.path} holds no run: no {RUN} ({os_reason(error)})"
            raise UsageError(reason) from None
        except ValueError as error:
            raise UsageError(f"{self.path / RUN} is damaged: {error}") from None
        except RecursionError:
            raise UsageError(f"{self.path / RUN} is damaged: nested too deep") from None
        if not isinstance(data, dict) or "specification" not in data:
            raise UsageError(f"{self.path / RUN} does not describe a run")
        return data

    def check_same(self, wanted: Mapping[str, Any], parts: tuple[str, ...]) -> None:
        """Refuse to go on with a run that is not the one that is wanted.

        Parameters
        ----------
        wanted : what ``begin`` would write.
        parts : the keys of it that must be equal.

        Raises
        ------
        UsageError : tells every place that differs.
        """
        there = self.read_run()
        wanted = json.loads(json.dumps(wanted))
        found = [
            d for part in parts for d in differences(there.get(part), wanted[part], f"$.{part}")
        ]
        if found:
            more = len(found) - _MOST_DIFFERENCES
            lines = found[:_MOST_DIFFERENCES] + ([f"and {more} more"] if more > 0 else [])
            raise UsageError(
                f"{self.path} holds another run, which cannot be resumed as this one:\n  "
                + "\n  ".join(lines)
            )

    def write_run(self, data: Mapping[str, Any]) -> None:
        """Write down what was asked for."""
        write_json(self.path / RUN, data)

    def write_report(self, data: Mapping[str, Any]) -> None:
        """Write the result."""
        write_json(self.path / REPORT, data)


def check_comparison_folder(path: Path, names: Sequence[str], *, resume: bool) -> None:
    """See that the folder of a comparison is new, empty, or holds this comparison to be resumed.

    Parameters
    ----------
    names : the folders within, one for each run.

    Raises
    ------
    UsageError : it is another folder.
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
        reason = f"cannot make the folder {root.absolute()}: {os_reason(error)}"
        raise UsageError(reason) from None
