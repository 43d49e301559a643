"""The database of a study.

SQLite is for one worker at a time, which holds a lock. PostgreSQL is for any number of workers
(``archon.study.workers``).
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
from archon.study.samplers import make_sampler
from archon.study.search_config import SearchConfig

if TYPE_CHECKING:
    import optuna

IDENTITY = "archon"
"""Name of the study attribute with the settings that all workers share."""
_MOST_DIFFERENCES = 5
_ADVISORY_KEY = 0x617263686F6E
"""Key of the advisory lock in PostgreSQL: "archon" in ASCII."""
_SECRET = re.compile("pass|pwd|secret|token|key", re.IGNORECASE)
"""Matches the names of URL parameters whose values are secret."""
DATABASE = "study.db"
"""Name of the SQLite file in a study's folder."""


def study_folder(name: str) -> Path:
    """Return the folder of a study, with its runs and, by default, its database."""
    return Path("runs") / safe_name(name)


def safe_name(name: str) -> str:
    """Replace the characters of a name that some file systems forbid."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", name)[:100].strip("-.") or "study"


def sqlite_url(path: Path) -> str:
    """Return the URL of a SQLite file for SQLAlchemy."""
    return f"sqlite:///{path.absolute()}"


@contextmanager
def opened_study(
    url: str, name: str, identity: Mapping[str, Any], config: SearchConfig
) -> Iterator[optuna.Study]:
    """Open a study while the block runs; create it if it does not exist.

    Parameters
    ----------
    identity
        The settings that all workers of a study must share, such as space and items.

    Raises
    ------
    UsageError
        The storage cannot be opened, the study exists without ``config.resume``, its identity
        differs, or another process uses the SQLite file.
    MissingExtraError
        Optuna is not installed.
    """
    optuna = require("optuna", "search")
    with _locked_file(url), opened_storage(url) as storage:
        with in_turn(url):
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                sampler=make_sampler(config.sampler, config.seed),
                directions=config.directions,
                load_if_exists=True,
            )
            _identify(study, url, identity, resume=config.resume)
        yield study


def _identify(study: optuna.Study, url: str, identity: Mapping[str, Any], *, resume: bool) -> None:
    """Store the identity in a new study; raise an error if an old one cannot be resumed."""
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
            f"the study {name!r} in {place} has other settings; choose another --study:\n  "
            + "\n  ".join(lines)
        )
    if not resume:
        raise UsageError(
            f"the study {name!r} in {place} already exists; resume it with --resume, or choose "
            "another --study"
        )


@contextmanager
def opened_storage(url: str) -> Iterator[Any]:
    """Open Optuna's storage at a URL while the block runs; create its tables if needed.

    Raises
    ------
    UsageError
        The database cannot be opened.
    StorageError
        The database reports an error while it is open.
    """
    with _as_storage_errors(url):
        with in_turn(url):
            storage = _storage(url)
        with _closing(storage):
            yield storage


@contextmanager
def storage_to_read(place: str | Path) -> Iterator[Any]:
    """Open Optuna's storage, a SQLite file or a URL, only for reading.

    Raises
    ------
    UsageError
        The database cannot be opened, or contains no studies.
    StorageError
        The database reports an error while it is open.
    """
    sqlalchemy = require("sqlalchemy", "search")
    url = place if isinstance(place, str) else sqlite_url(place)
    options: dict[str, Any] = {}
    if isinstance(place, Path):
        # An existing file only; writable, as the transaction of a killed writer is rolled back.
        uri = f"file:{quote(str(place.absolute()))}?mode=rw"
        options["creator"] = lambda: sqlite3.connect(uri, uri=True)
    with _as_storage_errors(url):
        with _as_usage_errors(url):
            engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, **options)
            has = sqlalchemy.inspect(engine).has_table
            known = all(map(has, ("studies", "trials", "version_info", "alembic_version")))
        if not known:
            raise UsageError(
                f"{public_url(url)} is not a database of studies: Optuna's tables are missing"
            )
        with _closing(_storage(url, engine_kwargs=options, skip_table_creation=True)) as storage:
            yield storage


def _storage(url: str, **options: Any) -> Any:
    optuna = require("optuna", "search")
    with _as_usage_errors(url), warnings.catch_warnings(action="ignore"):
        return optuna.storages.RDBStorage(url, **options)


@contextmanager
def _closing(storage: Any) -> Iterator[Any]:
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


@contextmanager
def in_turn(url: str) -> Iterator[None]:
    """Hold a lock of a PostgreSQL storage while the block runs; do nothing for SQLite.

    It protects reads that are followed by a write: taking the lease on the finals, and creating
    tables or a study, which would otherwise fail if two workers did it at the same time.
    """
    if not url.startswith("postgresql"):
        yield
        return
    sqlalchemy = require("sqlalchemy", "search")
    with contextlib.ExitStack() as stack:
        with _as_usage_errors(url):
            engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
            connection = stack.enter_context(engine.begin())
            lock = sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)")
            connection.execute(lock, {"key": _ADVISORY_KEY})
        yield


@contextmanager
def _as_usage_errors(url: str) -> Iterator[None]:
    """Convert errors while a storage is opened to ``UsageError``."""
    if "://" not in url:
        raise UsageError(
            f"the storage {public_url(url)} is not a URL; write it as sqlite:///FILE or "
            "postgresql+psycopg://USER@HOST/NAME"
        )
    if not is_for_one(url) and "@" in url.rpartition("@")[0].partition("?")[0]:
        # SQLAlchemy would read the part after this "@" as the host, and print it.
        raise UsageError(f'the password in {public_url(url)} contains "@"; write it as %40')
    try:
        yield
    except Exception as error:
        lines = str(error).strip().splitlines() or [repr(error)]
        raise UsageError(f"cannot open the storage {public_url(url)}: {lines[0]}") from None


@contextmanager
def _as_storage_errors(url: str) -> Iterator[None]:
    """Convert errors of the database to ``StorageError``."""
    sqlalchemy = require("sqlalchemy.exc", "search")
    optuna = require("optuna.exceptions", "search")
    try:
        yield
    except (sqlalchemy.SQLAlchemyError, optuna.StorageInternalError) as error:
        # Optuna's message has no details; the cause has.
        first = str(error.__cause__ or error).strip().splitlines()[0]
        raise StorageError(f"the storage {public_url(url)} failed: {first}") from error


def is_for_one(url: str) -> bool:
    """Return whether a storage allows only one worker, as SQLite does."""
    return url.startswith("sqlite")


@contextmanager
def _locked_file(url: str) -> Iterator[None]:
    """Lock a SQLite file for this process while the block runs."""
    if not is_for_one(url):
        yield
        return
    path = Path(url.partition("///")[2].partition("?")[0])

    def refuse() -> None:
        raise UsageError(
            f"another process uses the study in {path}; for several workers, use a storage "
            "such as postgresql+psycopg://…"
        )

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = acquire(path.with_name(f"{path.name}.lock"), refuse)
    except OSError as error:
        raise UsageError(f"cannot create the study's file {path}: {error.strerror}") from None
    with lock:
        yield


def public_url(url: str) -> str:
    """Remove passwords and other secrets from a URL, even from a malformed one."""
    account, at, place = url.rpartition("@")
    if is_for_one(url):
        return url
    if not at:
        return _without_secrets(url)
    scheme, separator, name = account.rpartition("://")
    user = re.split(r"[:?]", name, maxsplit=1)[0]
    # After a question mark, the "@" is part of a parameter's value.
    hidden = "…" if "?" in name else _without_secrets(place)
    return f"{scheme}{separator}{user}@{hidden}"


def _without_secrets(url: str) -> str:
    """Remove query parameters with secret values from a URL."""
    base, mark, query = url.partition("?")
    kept = [p for p in query.split("&") if not _SECRET.search(p.partition("=")[0])]
    return base + mark * bool(kept) + "&".join(kept)
