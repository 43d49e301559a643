"""The database of a study.

A study lives in a database: SQLite, for one worker at a time, kept to that by a lock; or
PostgreSQL, for any number of them (``archon.study.workers``).
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from archon.errors import StorageError, UsageError, require
from archon.storage.diff import differences
from archon.storage.lock import acquire

if TYPE_CHECKING:
    import optuna

IDENTITY = "archon"
"""The attribute of a study that tells what it is of."""
_MOST_DIFFERENCES = 5
_ADVISORY_KEY = 0x617263686F6E
"""Of the lock that workers hold in turn: "archon" in ASCII."""
_SECRET = re.compile("pass|pwd|secret|token|key", re.IGNORECASE)
"""In the name of a URL's parameter."""

DATABASE = "study.db"
"""The file in a study's folder that holds it, where it is in no other storage."""


def study_folder(name: str) -> Path:
    """Where the runs of a study are, and the file itself where no other storage is named."""
    return Path("runs") / safe_name(name)


def safe_name(name: str) -> str:
    """A name as a file may have it."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", name)[:100].strip("-.") or "study"


def sqlite_url(path: Path) -> str:
    """The URL of a study's own file."""
    return f"sqlite:///{path.absolute()}"


@contextmanager
def opened_study(
    url: str,
    name: str,
    identity: Mapping[str, Any],
    directions: list[str],
    sampler: optuna.samplers.BaseSampler,
    pruner: optuna.pruners.BasePruner,
    *,
    resume: bool,
) -> Iterator[optuna.Study]:
    """The study of that name, made where it is missing.

    Parameters
    ----------
    identity
        What the study is of, as plain data; workers that differ in it do not mix.
    resume
        Join a study that is there already.

    Raises
    ------
    UsageError
        The storage cannot be opened; it has such a study and ``resume`` is not set, or one of
        something else; or another process works on a study in SQLite.
    MissingExtraError
        Optuna is not installed.
    """
    optuna = require("optuna", "search")
    with _alone(url), opened_storage(url) as storage:
        with in_turn(url):
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                sampler=sampler,
                pruner=pruner,
                directions=directions,
                load_if_exists=True,
            )
            _identify(study, url, identity, resume=resume)
        yield study


def _identify(study: optuna.Study, url: str, identity: Mapping[str, Any], *, resume: bool) -> None:
    """Sign a new study with what it is of; refuse an old one that may not be gone on with."""
    name, place = study.study_name, public_url(url)
    known = study.user_attrs.get(IDENTITY)
    if known is None:
        if study.get_trials(deepcopy=False):
            raise UsageError(f"the study {name!r} in {place} was not made by archon search")
        study.set_user_attr(IDENTITY, dict(identity))
        return
    found = list(differences(known, dict(identity)))
    if found:
        lines = found[:_MOST_DIFFERENCES]
        lines += ["…"] if len(found) > _MOST_DIFFERENCES else []
        raise UsageError(
            f"the study {name!r} in {place} is of something else; choose another --study:\n  "
            + "\n  ".join(lines)
        )
    if not resume:
        raise UsageError(
            f"there is a study {name!r} in {place} already; go on with it with --resume, or "
            "choose another --study"
        )


@contextmanager
def opened_storage(url: str) -> Iterator[Any]:
    """Optuna's storage at that URL, its tables made where they are missing.

    Raises
    ------
    UsageError
        It cannot be opened.
    StorageError
        The database fails while it is open.
    """
    with _as_storage_errors(url):
        with in_turn(url):
            storage = _storage(url)
        try:
            yield storage
        finally:
            _close(storage)


@contextmanager
def storage_to_read(place: str | Path) -> Iterator[Any]:
    """Optuna's storage in a SQLite file or at a URL, in which nothing is made.

    Raises
    ------
    UsageError
        It cannot be opened, or holds no studies.
    StorageError
        The database fails while it is open.
    """
    sqlalchemy = require("sqlalchemy", "search")
    url, how = (place, {}) if isinstance(place, str) else (sqlite_url(place), _to_read(place))
    with _as_storage_errors(url):
        with _as_usage_errors(url):
            engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, **how)
            has = sqlalchemy.inspect(engine).has_table
            known = all(map(has, ("studies", "trials", "version_info", "alembic_version")))
        if not known:
            raise UsageError(f"{public_url(url)} holds no study: it has none of Optuna's tables")
        storage = _storage(url, engine_kwargs=how, skip_table_creation=True)
        try:
            yield storage
        finally:
            _close(storage)


def _to_read(file: Path) -> dict[str, Any]:
    """How to open a SQLite file that is there: writing must be possible, as what a killed writer
    left half done has to be rolled back.
    """
    uri = f"file:{quote(str(file.absolute()))}?mode=rw"
    return {"creator": lambda: sqlite3.connect(uri, uri=True)}


def _storage(url: str, **how: Any) -> Any:
    optuna = require("optuna", "search")
    with _as_usage_errors(url), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.storages.RDBStorage(url, **how)


def _close(storage: Any) -> None:
    storage.remove_session()
    storage.engine.dispose()


@contextmanager
def in_turn(url: str) -> Iterator[None]:
    """Keep other workers out of what is looked at and written in two steps: tables and a study, of
    which Optuna would let one of two workers fail, and the claim of the finals.
    """
    if not url.startswith("postgresql"):
        yield
        return
    sqlalchemy = require("sqlalchemy", "search")
    with contextlib.ExitStack() as held:
        with _as_usage_errors(url):
            engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
            connection = held.enter_context(engine.begin())
            lock = sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)")
            connection.execute(lock, {"key": _ADVISORY_KEY})
        yield


@contextmanager
def _as_usage_errors(url: str) -> Iterator[None]:
    """A storage that cannot be opened is one that the user named wrongly."""
    if "://" not in url:
        raise UsageError(
            f"the storage {public_url(url)} is no URL such as sqlite:///FILE or "
            "postgresql+psycopg://USER@HOST/NAME"
        )
    if not is_for_one(url) and "@" in url.rpartition("@")[0].partition("?")[0]:
        # Its second half would be taken for the host, and printed with it.
        raise UsageError(f'an "@" in the password of {public_url(url)} has to be written %40')
    try:
        yield
    except Exception as error:
        lines = str(error).strip().splitlines() or [repr(error)]
        raise UsageError(f"cannot open the storage {public_url(url)}: {lines[0]}") from None


@contextmanager
def _as_storage_errors(url: str) -> Iterator[None]:
    """A database that fails is a storage that does."""
    sqlalchemy = require("sqlalchemy.exc", "search")
    optuna = require("optuna.exceptions", "search")
    try:
        yield
    except (sqlalchemy.SQLAlchemyError, optuna.StorageInternalError) as error:
        # Optuna says only that something was raised; what it was stands behind.
        first = str(error.__cause__ or error).strip().splitlines()[0]
        raise StorageError(f"the storage {public_url(url)} failed: {first}") from error


def is_for_one(url: str) -> bool:
    """Whether a storage takes one worker only."""
    return url.startswith("sqlite")


@contextmanager
def _alone(url: str) -> Iterator[None]:
    """Keep other workers away from a SQLite file, which several must not write."""
    if not is_for_one(url):
        yield
        return
    path = Path(url.partition("///")[2].partition("?")[0])

    def refuse() -> None:
        raise UsageError(
            f"another process works on the study in {path}; several workers need a storage such as "
            "postgresql+psycopg://…"
        )

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = acquire(path.with_name(f"{path.name}.lock"), refuse)
    except OSError as error:
        raise UsageError(f"cannot make the study's file {path}: {error.strerror}") from None
    with lock:
        yield


def public_url(url: str) -> str:
    """The URL without a password, wherever in it that stands, and however badly it is written."""
    account, at, place = url.rpartition("@")
    if is_for_one(url):
        return url
    if not at:
        return _without_secrets(url)
    scheme, separator, name = account.rpartition("://")
    user = re.split(r"[:?]", name, maxsplit=1)[0]
    # Behind a question mark that comes first, it is the value of a parameter that holds the "@".
    hidden = "…" if "?" in name else _without_secrets(place)
    return f"{scheme}{separator}{user}@{hidden}"


def _without_secrets(url: str) -> str:
    """A URL without the parameters that are passwords."""
    base, mark, query = url.partition("?")
    kept = [p for p in query.split("&") if not _SECRET.search(p.partition("=")[0])]
    return base + mark * bool(kept) + "&".join(kept)
