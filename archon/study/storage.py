"""Where a study is kept, and whose trials are stale.

A study lives in a database: SQLite, for one worker at a time, kept to that by a lock; or
PostgreSQL, for any number of them. A worker beats for the trial that it runs: it counts up in an
attribute of the trial. Whoever sees a running trial whose count stands still takes it over: tells
it as failed, which the database lets one worker do only, and enqueues its choices again. Clocks of
machines are never compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
import uuid
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from archon.errors import StorageError, UsageError, require
from archon.evals.differences import differences

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial

BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0

_IDENTITY, _BEAT, RETRY_OF = "archon", "beat", "retry_of"
_MOST_DIFFERENCES = 5
_ADVISORY_KEY = 0x617263686F6E
"""Of the lock that workers hold in turn: "archon" in ASCII."""
_LOGGER = logging.getLogger(__name__)


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
    identity : what the study is of, as plain data; workers that differ in it do not mix.
    resume : join a study that is there already.

    Raises
    ------
    UsageError : the storage cannot be opened; it has such a study and ``resume`` is not set, or one
        of something else; or another process works on a study in SQLite.
    MissingExtraError : Optuna is not installed.
    """
    optuna = require("optuna", "search")
    with _alone(url), opened_storage(url) as storage:
        with _in_turn(url):
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
    name, known = study.study_name, study.user_attrs.get(_IDENTITY)
    if known is None:
        if study.get_trials(deepcopy=False):
            raise UsageError(f"the study {name!r} in {url} was not made by archon search")
        study.set_user_attr(_IDENTITY, dict(identity))
        return
    found = list(differences(known, dict(identity)))
    if found:
        lines = found[:_MOST_DIFFERENCES]
        lines += ["…"] if len(found) > _MOST_DIFFERENCES else []
        raise UsageError(
            f"the study {name!r} in {url} is of something else; choose another --study:\n  "
            + "\n  ".join(lines)
        )
    if not resume:
        raise UsageError(
            f"there is a study {name!r} in {url} already; go on with it with --resume, or "
            "choose another --study"
        )


@contextmanager
def opened_storage(url: str) -> Iterator[Any]:
    """Optuna's storage at that URL, its tables made where they are missing.

    Raises
    ------
    UsageError : it cannot be opened.
    StorageError : the database fails while it is open.
    """
    with _told_as_storage_errors(url):
        with _in_turn(url):
            storage = _storage(url)
        try:
            yield storage
        finally:
            storage.remove_session()
            storage.engine.dispose()


def _storage(url: str) -> Any:
    optuna = require("optuna", "search")
    with _told_as_usage_errors(url), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.storages.RDBStorage(url)


@contextmanager
def _in_turn(url: str) -> Iterator[None]:
    """Keep other workers out while this one makes tables or a study: Optuna looks whether they are
    there and makes them in two steps, so that one of two workers would fail.
    """
    if not url.startswith("postgresql"):
        yield
        return
    sqlalchemy = require("sqlalchemy", "search")
    with contextlib.ExitStack() as held:
        with _told_as_usage_errors(url):
            engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
            connection = held.enter_context(engine.begin())
            lock = sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)")
            connection.execute(lock, {"key": _ADVISORY_KEY})
        yield


@contextmanager
def _told_as_usage_errors(url: str) -> Iterator[None]:
    """A storage that cannot be opened is one that the user named wrongly."""
    try:
        yield
    except Exception as error:
        lines = str(error).strip().splitlines() or [repr(error)]
        raise UsageError(f"cannot open the storage {_public(url)}: {lines[0]}") from None


@contextmanager
def _told_as_storage_errors(url: str) -> Iterator[None]:
    """A database that fails is a storage that does."""
    sqlalchemy = require("sqlalchemy.exc", "search")
    optuna = require("optuna.exceptions", "search")
    try:
        yield
    except (sqlalchemy.SQLAlchemyError, optuna.StorageInternalError) as error:
        first = str(error).strip().splitlines()[0]
        raise StorageError(f"the storage {_public(url)} failed: {first}") from error


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path.with_name(f"{path.name}.lock"))
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UsageError(
            f"another process works on the study in {path}; several workers need a storage such as "
            "postgresql+psycopg://…"
        ) from None
    except OSError as error:
        raise UsageError(f"cannot make the study's file {path}: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


def _public(url: str) -> str:
    """The URL without a password."""
    scheme, separator, rest = url.partition("://")
    account, at, host = rest.rpartition("@")
    if not at:
        return url
    return f"{scheme}{separator}{account.partition(':')[0]}@{host}"


@dataclass
class Worker:
    """One process at work on a study: it beats for its trial, and looks after those of others."""

    study: optuna.Study
    is_alone: bool
    """Whether no other worker can be there, so that trials that run are those of the dead."""
    clock: Callable[[], float] = time.monotonic
    name: str = field(
        default_factory=lambda: f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
    )
    _own: set[int] = field(default_factory=set)
    _seen: dict[int, tuple[Any, float]] = field(default_factory=dict)
    """Running trial → its last beat, and when it was first seen by our clock."""

    @asynccontextmanager
    async def beating(self, trial: Trial) -> AsyncIterator[None]:
        """Beat for a trial while the block runs."""
        self._own.add(trial.number)
        self._beat(trial, 0)

        async def beat_on() -> None:
            count = 0
            while True:
                await asyncio.sleep(BEAT_SECONDS)
                count += 1
                try:
                    await asyncio.to_thread(self._beat, trial, count)
                except Exception as error:  # told already, or the database is away for a moment
                    _LOGGER.info("no beat for trial %d: %s", trial.number, error)

        beating = asyncio.create_task(beat_on())
        try:
            yield
        finally:
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating
            self._own.discard(trial.number)

    def _beat(self, trial: Trial, count: int) -> None:
        trial.set_user_attr(_BEAT, {"worker": self.name, "count": count})

    def take_over_stale(self) -> list[int]:
        """Fail and enqueue again every trial whose worker is gone; their numbers."""
        optuna = require("optuna", "search")
        running = self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
        stale = [
            trial for trial in running if trial.number not in self._own and self._is_stale(trial)
        ]
        self._seen = {t.number: self._seen[t.number] for t in running if t.number in self._seen}
        return [trial.number for trial in stale if give_back(self.study, trial)]

    def _is_stale(self, trial: FrozenTrial) -> bool:
        if self.is_alone:
            return True
        beat, now = trial.user_attrs.get(_BEAT), self.clock()
        known, since = self._seen.get(trial.number, (object(), now))
        if known != beat:
            self._seen[trial.number] = (beat, now)
            return False
        return now - since >= STALE_SECONDS


def give_back(study: optuna.Study, trial: FrozenTrial | Trial) -> bool:
    """Fail a running trial and enqueue its choices again; False where another has told it.

    A worker that dies between the two loses the choices, and nothing else.
    """
    optuna = require("optuna", "search")
    try:
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        return False
    first = trial.user_attrs.get(RETRY_OF, trial.number)
    study.enqueue_trial(dict(trial.params), user_attrs={RETRY_OF: first})
    return True
