"""Who is making which draw, so that two tasks that ask for one do not both make it.

Nobody waits while holding a claim, so that requests which overlap in any way cannot block each
other. Claims may be taken, settled and waited for in different event loops.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterable

from archon.lm.pool.store import Draw


class Claim:
    """One draw in the making."""

    def __init__(self) -> None:
        self.draw: Draw | None = None
        """What was made; None where its maker gave up."""
        self._settled = False
        self._lock = threading.Lock()
        self._waiting: list[asyncio.Future[None]] = []

    async def wait(self) -> Draw | None:
        """The draw as soon as it is there, or None as soon as nobody is making it any more."""
        with self._lock:
            if self._settled:
                return self.draw
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
        await waiter
        return self.draw

    def settle(self, draw: Draw | None) -> None:
        """Wake those who wait; what comes after the first time changes nothing."""
        with self._lock:
            if self._settled:
                return
            self.draw, self._settled = draw, True
            waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            # In a loop that was closed meanwhile nobody waits any more.
            with contextlib.suppress(RuntimeError):
                waiter.get_loop().call_soon_threadsafe(_wake, waiter)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Claims:
    """The draws that are being made in this process, by key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[bytes, Claim] = {}

    def take(self, keys: Iterable[bytes]) -> tuple[dict[bytes, Claim], dict[bytes, Claim]]:
        """Claim what nobody else has.

        Returns
        -------
        The claims taken, for the caller to settle, and those of others, to be waited for.
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

    def settle(self, key: bytes, claim: Claim, draw: Draw | None) -> None:
        """End a claim that the caller has taken; a second time does nothing."""
        with self._lock:
            if self._claims.get(key) is claim:
                del self._claims[key]
        claim.settle(draw)

    def __len__(self) -> int:
        return len(self._claims)
