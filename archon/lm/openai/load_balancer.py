"""Load balancing over equivalent servers. The least busy healthy server receives the next request.

When a server fails repeatedly or is unreachable, its circuit opens, and other servers are
preferred. After a delay, the server is tried again, with one request at a time. The first success
closes the circuit (the circuit breaker of Nygard, "Release It!", 2007). If every circuit is open,
the request is sent to the server whose delay ends first.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from archon.lm.retry import Clock

MAX_FAILURES = 3
"""Number of consecutive failures after which a circuit opens."""
_FIRST_SECONDS = 1.0
_MAX_SECONDS = 30.0


@dataclass(slots=True, eq=False)
class Replica:
    """One server of a card: its address, load and health."""

    url: str
    outstanding: int = 0
    """Number of requests in progress."""
    num_failures: int = 0
    """Number of failures since the last success."""
    open_until: float | None = None
    """Monotonic time after which a request may try the server again; None if the circuit is closed.
    """
    open_seconds: float = _FIRST_SECONDS
    """Delay in seconds for the next time the circuit opens."""


class LoadBalancer:
    """Load balancer over one card's servers. It may be used from several event loops."""

    def __init__(self, urls: Sequence[str], clock: Clock) -> None:
        self.replicas = tuple(Replica(url) for url in urls)
        self._clock = clock
        self._lock = threading.Lock()

    @contextmanager
    def choose(self, tried: Collection[Replica] = ()) -> Iterator[Replica]:
        """Choose a server, and count it as busy with a request while the ``with`` block runs.

        Parameters
        ----------
        tried
            Servers to exclude; at least one must remain.
        """
        with self._lock:
            untried = [replica for replica in self.replicas if replica not in tried]
            replica = min(untried, key=self._rank)
            replica.outstanding += 1
        try:
            yield replica
        finally:
            with self._lock:
                replica.outstanding -= 1

    def succeeded(self, replica: Replica) -> None:
        """Record a server's success, and close its circuit."""
        with self._lock:
            replica.num_failures, replica.open_until = 0, None
            replica.open_seconds = _FIRST_SECONDS

    def failed(self, replica: Replica, *, is_unreachable: bool = False) -> None:
        """Record a failure. After ``MAX_FAILURES`` consecutive failures, open the server's circuit.

        The circuit of an unreachable server opens immediately.
        """
        now = self._clock.monotonic()
        with self._lock:
            replica.num_failures += 1
            is_open = replica.open_until is not None and now < replica.open_until
            if is_open or not (is_unreachable or replica.num_failures >= MAX_FAILURES):
                return  # failures of earlier requests do not extend the delay
            replica.open_until = now + replica.open_seconds
            replica.open_seconds = min(_MAX_SECONDS, 2 * replica.open_seconds)

    def _rank(self, replica: Replica) -> tuple[int, float, int]:
        """Return a server's sort key. The server with the smallest key receives the request."""
        if replica.open_until is None:
            return (1, 0.0, replica.outstanding)
        is_over = self._clock.monotonic() >= replica.open_until
        if is_over and not replica.outstanding:
            return (0, replica.open_until, 0)  # a single request tries it again
        return (2, replica.open_until, replica.outstanding)
