"""The workers of a study, and whose trials are stale.

A worker beats for the trial that it runs: it counts up in an attribute of the trial. Whoever sees
a running trial whose count stands still takes it over: tells it as failed, which the database lets
one worker do only, and enqueues its choices again. Clocks of machines are never compared.
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
    """Call ``beat`` at once, and again and again while the block runs, counting up."""
    beat(0)

    async def beat_on() -> None:
        count = 0
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            count += 1
            try:
                await asyncio.to_thread(beat, count)
            except Exception as error:  # told already, or the database is away for a moment
                _LOGGER.info("no beat: %s", error)

    beats = asyncio.create_task(beat_on())
    try:
        yield
    finally:
        beats.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await beats


def is_gone(worker: str) -> bool:
    """Whether a worker is known to be gone: it was of this very machine, and runs no more."""
    host, process, _ = worker.rsplit("/", 2)
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


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
        try:
            async with beating(lambda count: trial.set_user_attr(BEAT, self.sign(count))):
                yield
        finally:
            self._own.discard(trial.number)

    def sign(self, count: int) -> dict[str, Any]:
        """What a beat leaves."""
        return {"worker": self.name, "count": count}

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
        beat, now = trial.user_attrs.get(BEAT), self.clock()
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
