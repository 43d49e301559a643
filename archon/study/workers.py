"""Workers of a study: their heartbeats, and the takeover of stale trials.

A worker increments a counter in an attribute of the trial that it runs. If the counter of a running
trial stops increasing, another worker takes the trial over. It marks the trial as failed, which the
database allows only once, and enqueues its configuration again. Clocks of different machines are
never compared.
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
    """Call ``beat`` with 0, 1, 2, … at regular intervals while the block runs."""
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
    """Return whether a worker's process was on this machine and has ended."""
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
    """A process that works on a study. It sends heartbeats and takes over stale trials."""

    study: optuna.Study
    is_alone: bool
    """True if no other worker can exist, so that every running trial belongs to a dead worker."""
    clock: Callable[[], float] = time.monotonic
    name: str = field(
        default_factory=lambda: f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
    )
    _own: set[int] = field(default_factory=set)
    _seen: dict[int, tuple[Any, float]] = field(default_factory=dict)
    """Running trial → its last heartbeat, and the time at which this worker first saw it."""

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
        """Return the content of a heartbeat."""
        return {"worker": self.name, "count": count}

    def take_over_stale(self) -> list[int]:
        """Release every trial whose worker is dead; return the trials' numbers."""
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
    """Mark a running trial as failed, and enqueue its configuration again.

    Return False if another worker finished the trial.

    If a worker dies between the two steps, only this configuration is lost.
    """
    optuna = require("optuna", "search")
    try:
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    except (ValueError, optuna.exceptions.UpdateFinishedTrialError):
        return False
    first = trial.user_attrs.get(RETRY_OF, trial.number)
    study.enqueue_trial(dict(trial.params), user_attrs={RETRY_OF: first})
    return True
