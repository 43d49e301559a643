"""Connections to servers, each in one request's hands alone until its reply has been read.

A pool that requests share does not survive being cancelled often: httpcore 1.0.9's loses slots and
open sockets for good with requests that are cancelled at the wrong moment, whether it is bounded or
not (encode/httpcore#1093; of 4,000 cancels, 64 sockets and 28 requests stayed behind). Here a
connection whose request did not end well is closed, and only whole ones are used again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx


class Connections:
    """The connections of one event loop.

    Parameters
    ----------
    make : a client that opens one connection at the most, and to one server.
    keep : idle connections to keep of each server.
    """

    def __init__(self, make: Callable[[], httpx.AsyncClient], keep: int) -> None:
        self._make, self._keep = make, keep
        self._idle: dict[str, list[httpx.AsyncClient]] = {}
        self._is_closed = False

    @asynccontextmanager
    async def one(self, server: str) -> AsyncIterator[httpx.AsyncClient]:
        """A connection to the server; one that was used last first."""
        idle = self._idle.setdefault(server, [])
        client = idle.pop() if idle else self._make()
        is_whole = False
        try:
            yield client
            is_whole = True
        finally:
            if is_whole and not self._is_closed and len(idle) < self._keep:
                idle.append(client)
            else:
                await client.aclose()

    async def aclose(self) -> None:
        """Close what is idle; what is in use is closed by its request."""
        self._is_closed = True
        for clients in self._idle.values():
            while clients:
                await clients.pop().aclose()
