"""Claims on samples, so that no two tasks generate the same sample.

A task with an unsettled claim does not wait for other tasks, so overlapping requests cannot
deadlock. Claims may be taken, settled and awaited in different event loops.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterable

from archon.lm.pool.store import StoredSample


class Claim:
    """A sample that one task is generating and others may be waiting for."""

    def __init__(self) -> None:
        self.sample: StoredSample | None = None
        """The sample; None while it is in progress or if the task could not generate it."""
        self._settled = False
        self._lock = threading.Lock()
        self._waiting: list[asyncio.Future[None]] = []

    async def wait(self) -> StoredSample | None:
        """Wait for the sample and return it, or return None if the task could not generate it."""
        with self._lock:
            if self._settled:
                return self.sample
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
        await waiter
        return self.sample

    def settle(self, sample: StoredSample | None) -> None:
        """Set the sample, or None after a failure, and wake all waiting tasks.

        Only the first call has an effect.
        """
        with self._lock:
            if self._settled:
                return
            self.sample, self._settled = sample, True
            waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            # The event loop may have been closed.
            with contextlib.suppress(RuntimeError):
                waiter.get_loop().call_soon_threadsafe(_wake, waiter)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Claims:
    """All samples that this process is generating, by key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[bytes, Claim] = {}

    def take(self, keys: Iterable[bytes]) -> tuple[dict[bytes, Claim], dict[bytes, Claim]]:
        """Claim each key that no other task has claimed.

        Returns
        -------
        Two dictionaries: the new claims, which the caller must settle, and other tasks' claims,
        which the caller can wait for.
        """
        taken: dict[bytes, Claim] = {}
        others: dict[bytes, Claim] = {}
        with self._lock:
            for key in keys:
                claim = self._claims.get(key)
                if claim is None:
                    taken[key] = self._claims[key] = Claim()
                else:
                    others[key] = claim
        return taken, others

    def settle(self, key: bytes, claim: Claim, sample: StoredSample | None) -> None:
        """Settle a claim taken by the caller. Only the first call has an effect."""
        with self._lock:
            if self._claims.get(key) is claim:
                del self._claims[key]
        claim.settle(sample)

    def __len__(self) -> int:
        return len(self._claims)
