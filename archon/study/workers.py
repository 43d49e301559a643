"""Workers of a study: heartbeats, and the takeover of trials whose worker is gone.

A worker regularly increments a counter in an attribute of the trial that it runs. If the counter of
a running trial stops, another worker takes the trial over: it marks the trial as failed, which the
database allows only once, and enqueues its choices again. Clocks of different machines are never
compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from archon.errors import require

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial

BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0

BEAT, RETRY_OF = "beat", "retry_of"
_LOGGER = logging.getLogger(__name__)


@asynccontextmanager
async def beating(beat: Callable[[int], None]) -> AsyncIterator[None]:
    """Call ``beat(0)``, ``beat(1)`` and so on at regular intervals while the block runs."""
    beat(0)

    async def beat_on() -> None:
        count = 0
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            count += 1
            try:
                await asyncio.to_thread(beat, count)
            except Exception as error:  # the trial is finished, or the database is unavailable
                _LOGGER.info("heartbeat failed: %s", error)

    beats = asyncio.create_task(beat_on())
    try:
        yield
    finally:
        beats.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beats


def is_gone(worker: str) -> bool:
    """Return whether a worker is certainly dead: a process of this machine that has ended."""
    host, process, _ = worker.rsplit("/", 2)
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(process), 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)
    return False


@dataclass
class Worker:
    """This process as a worker of a study: sends heartbeats and takes over stale trials."""

    study: optuna.Study
    is_alone: bool
    """True if there can be no other worker; every running trial then belongs to a dead one."""
    clock: Callable[[], float] = time.monotonic
    name: str = field(
        default_factory=lambda: f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
    )
    _own: set[int] = field(default_factory=set)
    _seen: dict[int, tuple[Any, float]] = field(default_factory=dict)
    """Number of a running trial → last heartbeat, and time at which this worker first saw it."""

    @asynccontextmanager
    async def beating(self, trial: Trial) -> AsyncIterator[None]:
        """Send heartbeats for a trial while the block runs."""
        self._own.add(trial.number)
        try:
            async with beating(lambda count: trial.set_user_attr(BEAT, self.sign(count))):
                yield
        finally:
            self._own.discard(trial.number)

    def sign(self, count: int) -> dict[str, Any]:
        """Return the value of the heartbeat attribute for a count."""
        return {"worker": self.name, "count": count}

    def take_over_stale(self) -> list[int]:
        """Fail and enqueue again every trial whose worker is gone; return their numbers."""
        optuna = require("optuna", "search")
        running = self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
        stale = [t for t in running if t.number not in self._own and self._is_stale(t)]
        self._seen = {t.number: self._seen[t.number] for t in running if t.number in self._seen}
        return [trial.number for trial in stale if give_back(self.study, trial)]

    def _is_stale(self, trial: FrozenTrial) -> bool:
        if self.is_alone:
            return True
        beat, now = trial.user_attrs.get(BEAT), self.clock()
        known, since = self._seen.get(trial.number, (object(), now))
        if known != beat:
            self._seen[trial.number] = (beat, now)
            return False
        return now - since >= STALE_SECONDS


def give_back(study: optuna.Study, trial: FrozenTrial | Trial) -> bool:
    """Mark a running trial as failed, and enqueue its choices again.

    Returns False, and enqueues nothing, if another worker has finished the trial.

    If the worker dies between the two steps, only the choices are lost.
    """
    optuna = require("optuna", "search")
    try:
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        return False
    first = trial.user_attrs.get(RETRY_OF, trial.number)
    study.enqueue_trial(dict(trial.params), user_attrs={RETRY_OF: first})
    return True
