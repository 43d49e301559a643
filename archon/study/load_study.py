"""Load a stored study, read-only, by folder, file or URL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archon.errors import UsageError, require
from archon.spec.messages import shown, suggestion
from archon.study.storage import DATABASE, IDENTITY, public_url, storage_to_read, study_folder

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_MOST_NAMES = 10


@dataclass(frozen=True)
class StoredStudy:
    """A snapshot of one study in a storage."""

    name: str
    storage: str
    """URL of the storage without its password, or path of its SQLite file."""
    identity: Mapping[str, Any]
    """The settings of the study: space, benchmark, items, objectives, limits and seed."""
    attributes: Mapping[str, Any]
    trials: Sequence[FrozenTrial]
    folder: Path | None
    """The folder with the runs of its trials; None if it is not on this machine."""


def is_study(given: str) -> bool:
    """Return whether an argument of ``archon view`` is a study.

    A study is a database URL, a file, or a folder that contains ``study.db``.
    """
    path = Path(given)
    return "://" in given or path.is_file() or (path / DATABASE).is_file()


def read_study(given: str, name: str | None = None) -> StoredStudy:
    """Read a study from a SQLite file, a study's folder, or the URL of a storage.

    Parameters
    ----------
    name
        The study's name; not needed if the storage contains only one study.

    Raises
    ------
    UsageError
        The storage does not exist, it has no study of that name, it has several studies and
        ``name`` is None, or the study was not created by ``archon search``.
    StorageError
        The database reports an error.
    """
    optuna = require("optuna", "search")
    file = _file(given)
    with storage_to_read(given if file is None else file) as storage:
        place = public_url(given) if file is None else str(file)
        chosen = _choose(optuna.get_all_study_names(storage), name, place)
        study = optuna.load_study(study_name=chosen, storage=storage)
        attributes, trials = study.user_attrs, study.get_trials(deepcopy=False)
    if IDENTITY not in attributes:
        raise UsageError(f"the study {chosen!r} in {place} was not made by archon search")
    folder = file.parent if file and file.name == DATABASE else study_folder(chosen)
    known_folder = folder if folder.is_dir() else None
    return StoredStudy(chosen, place, attributes[IDENTITY], attributes, trials, known_folder)


def _file(given: str) -> Path | None:
    """Return the SQLite file that an argument refers to; None for a URL of another database."""
    if "://" in given and not given.startswith("sqlite"):
        return None
    path = Path(given.partition(":///")[2].partition("?")[0] if "://" in given else given)
    if path.is_dir():
        if not (path / DATABASE).is_file():
            raise UsageError(
                f"{path} contains neither a run nor a study ({DATABASE}); for a study in a "
                "database, pass the URL and --study"
            )
        path = path / DATABASE
    if not path.is_file():
        here = study_folder(given)
        hint = f"; did you mean {here}?" if here.is_dir() else ""
        raise UsageError(f"{path} does not exist{hint}")
    return path


def _choose(names: Sequence[str], wanted: str | None, place: str) -> str:
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted in names:
        return str(wanted)
    if not names:
        raise UsageError(f"{place} contains no study yet")
    listed = ", ".join(sorted(names)[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
    if wanted is None:
        raise UsageError(
            f"{place} contains {len(names)} studies; choose one with --study: {listed}"
        )
    hint = suggestion(wanted, names)
    raise UsageError(f"no study {shown(wanted)} in {place}{hint}; it contains {listed}")
