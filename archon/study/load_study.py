"""Load a stored study, read-only, by folder, file or URL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archon.errors import UsageError, require
from archon.spec.messages import shown, suggestion
from archon.study.storage import (
    DATABASE,
    IDENTITY,
    public_url,
    storage_to_read,
    study_folder,
)

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_MOST_NAMES = 10


@dataclass(frozen=True)
class StoredStudy:
    """Everything that a storage holds of one study, read at one time."""

    name: str
    storage: str
    """Its URL without a password, or its file."""
    identity: Mapping[str, Any]
    """What it is of: space, benchmark, items, objectives, limits, seed."""
    attributes: Mapping[str, Any]
    trials: Sequence[FrozenTrial]
    folder: Path | None
    """Where its runs are, if they are here."""


def is_study(given: str) -> bool:
    """Whether what a user names is to be read as a study: a URL, a file, or a study's folder."""
    path = Path(given)
    return "://" in given or path.is_file() or (path / DATABASE).is_file()


def read_study(given: str, name: str | None = None) -> StoredStudy:
    """The study that is kept in a SQLite file, in a study's folder, or at the URL of a storage.

    Parameters
    ----------
    name
        Which one; it may be left out where there is only one.

    Raises
    ------
    UsageError
        Nothing is there, it holds no study or several, or none of ``archon search``.
    StorageError
        The database fails.
    """
    optuna = require("optuna", "search")
    file = _file(given)
    with storage_to_read(given if file is None else file) as storage:
        told = public_url(given) if file is None else str(file)
        chosen = _chosen(optuna.get_all_study_names(storage), name, told)
        study = optuna.load_study(study_name=chosen, storage=storage)
        attributes, trials = study.user_attrs, study.get_trials(deepcopy=False)
    if IDENTITY not in attributes:
        raise UsageError(f"the study {chosen!r} in {told} was not made by archon search")
    in_folder = file is not None and file.name == DATABASE
    folder = file.parent if file is not None and in_folder else study_folder(chosen)
    return StoredStudy(
        chosen,
        told,
        attributes[IDENTITY],
        attributes,
        trials,
        folder if folder.is_dir() else None,
    )


def _file(given: str) -> Path | None:
    """The SQLite file that is meant; None for the URL of another storage."""
    if "://" in given and not given.startswith("sqlite"):
        return None
    path = Path(given.partition(":///")[2].partition("?")[0] if "://" in given else given)
    if path.is_dir():
        if not (path / DATABASE).is_file():
            raise UsageError(
                f"{path} holds neither a run nor a study's {DATABASE}; a study in another storage "
                "is named by its URL and --study"
            )
        path = path / DATABASE
    if not path.is_file():
        here = study_folder(given)
        hint = f"; did you mean {here}?" if here.is_dir() else ""
        raise UsageError(f"no study in {path}: there is no such file or folder{hint}")
    return path


def _chosen(names: Sequence[str], wanted: str | None, told: str) -> str:
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted in names:
        return str(wanted)
    if not names:
        raise UsageError(f"{told} holds no study yet")
    listed = ", ".join(sorted(names)[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
    if wanted is None:
        raise UsageError(f"{told} holds {len(names)} studies; choose one with --study: {listed}")
    raise UsageError(
        f"no study {shown(wanted)} in {told}{suggestion(wanted, names)}; it holds {listed}"
    )
