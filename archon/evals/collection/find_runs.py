"""Find the runs, comparisons and studies in a folder and its subfolders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from archon.errors import UsageError, os_reason
from archon.evals.folder import RunFolder

MAX_DEPTH = 5
"""Number of levels of subfolders that are searched."""
_NUMBERED = re.compile(r"([1-9]\d{0,3})-.")
"""Matches the names of a comparison's run folders: ``1-ARCH``, ``2-ARCH``, …"""


@dataclass
class Found:
    """The contents of a folder, sorted by path."""

    runs: list[Path] = field(default_factory=list)
    """All runs, except for those of studies and those without a node (``--ablate``)."""
    comparisons: list[Path] = field(default_factory=list)
    """Folders of ``archon compare --output``. Their runs are also in ``runs``."""
    studies: list[Path] = field(default_factory=list)


def find_runs(folder: Path, *, study_file: str) -> Found:
    """Find the runs, comparisons and studies in a folder, which can also be one of them.

    Hidden folders and links to folders are not entered. The runs inside of a study are its trials,
    and are listed only if ``folder`` is the study.

    Parameters
    ----------
    study_file
        Name of the file that marks the folder of a study.

    Raises
    ------
    UsageError
        The folder cannot be read.
    """
    try:
        names = {entry.name for entry in os.scandir(folder)}
    except (OSError, ValueError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot read the folder {folder}: {reason}") from None
    found = Found()
    if study_file in names:
        found.studies.append(folder)
        for child in _subfolders(folder):
            _search(child, found, study_file, MAX_DEPTH - 1)
    else:
        _search(folder, found, study_file, MAX_DEPTH)
    return found


def runs_of_comparison(folder: Path) -> list[Path]:
    """Return the runs of a comparison in order; empty if the folder is not a comparison."""
    numbered = {}
    for child in _subfolders(folder):
        match = _NUMBERED.match(child.name)
        if not RunFolder(child).holds_run:
            continue
        if match is None or int(match[1]) in numbered:
            return []
        numbered[int(match[1])] = child
    is_complete = len(numbered) > 1 and sorted(numbered) == list(range(1, len(numbered) + 1))
    return [numbered[number] for number in sorted(numbered)] if is_complete else []


def _search(folder: Path, found: Found, study_file: str, depth: int) -> None:
    if (folder / study_file).is_file():
        found.studies.append(folder)
        return
    if RunFolder(folder).holds_run:
        found.runs.append(folder)
        return
    if depth == 0:
        return
    if runs_of_comparison(folder):
        found.comparisons.append(folder)
    for child in _subfolders(folder):
        _search(child, found, study_file, depth - 1)


def _subfolders(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # not readable, or just deleted
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            yield folder / entry.name
