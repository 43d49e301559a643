"""Which of several equal servers is asked next: the least busy of those that are well.

A server's circuit opens when it fails; while it is open, others are asked. When its time is over,
one request at a time tries the server, and the first that succeeds closes the circuit (Nygard,
"Release It!", 2007, the circuit breaker). Nobody is refused for it: where every circuit is open,
the server that has been out for longest is asked all the same, and the pace of retries holds.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from archon.lm.retry import Clock

MAX_FAILURES = 3
"""So many failures one after another open a circuit."""
_FIRST_SECONDS = 1.0
_MAX_SECONDS = 30.0


@dataclass(slots=True, eq=False)
class Replica:
    """One server: where it is, how busy, how well."""

    url: str
    outstanding: int = 0
    """Requests that it has not answered yet."""
    num_failures: int = 0
    """Failures since it last did well."""
    open_until: float | None = None
    """Its circuit is open until then (monotonic clock); None where it is closed."""
    open_seconds: float = _FIRST_SECONDS
    """How long its circuit opens next time."""


class Replicas:
    """The servers of one card; may be used from several event loops at once."""

    def __init__(self, urls: Sequence[str], clock: Clock) -> None:
        self.all = tuple(Replica(url) for url in urls)
        self._clock = clock
        self._lock = threading.Lock()

    @contextmanager
    def one(self, tried: Collection[Replica] = ()) -> Iterator[Replica]:
        """The server to ask now, busier by one while the block runs.

        Parameters
        ----------
        tried : servers to leave out; at least one must be left.
        """
        with self._lock:
            left = [replica for replica in self.all if replica not in tried]
            replica = min(left, key=self._rank)
            replica.outstanding += 1
        try:
            yield replica
        finally:
            with self._lock:
                replica.outstanding -= 1

    def did_well(self, replica: Replica) -> None:
        """It answered: its circuit is closed."""
        with self._lock:
            replica.num_failures, replica.open_until = 0, None
            replica.open_seconds = _FIRST_SECONDS

    def failed(self, replica: Replica, *, at_once: bool = False) -> None:
        """It did not; ``at_once`` where nothing is there, which needs no second look."""
        now = self._clock.monotonic()
        with self._lock:
            replica.num_failures += 1
            is_open = replica.open_until is not None and now < replica.open_until
            if is_open or not (at_once or replica.num_failures >= MAX_FAILURES):
                return  # failures of requests that were under way say nothing new
            replica.open_until = now + replica.open_seconds
            replica.open_seconds = min(_MAX_SECONDS, 2 * replica.open_seconds)

    def _rank(self, replica: Replica) -> tuple[int, float, int]:
        """The lowest is asked; of equal ones, the first in the card."""
        if replica.open_until is None:
            return (1, 0.0, replica.outstanding)
        is_over = self._clock.monotonic() >= replica.open_until
        if is_over and not replica.outstanding:
            return (0, replica.open_until, 0)  # the one request that tries it
        return (2, replica.open_until, replica.outstanding)
