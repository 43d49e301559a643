"""Posting to a server: connections, limits, and errors without secrets."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

import httpx

from archon.errors import LMError
from archon.lm.concurrency import PerLoop
from archon.lm.connections import Connections
from archon.lm.protocol import error_text
from archon.lm.retry import Clock, retry_after_seconds
from archon.lm.sse import DONE, EventParser

MAX_REPLY_BYTES = 32 * 1024 * 1024
_MAX_ERROR_BYTES = 16 * 1024
_MAX_REASON_CHARACTERS = 500
_CONNECT_SECONDS = 10.0
_RETRYABLE = frozenset({408, 409, 425, 429})


class UnreachableError(LMError):
    """No connection could be made, so nothing was sent."""


class BusyError(LMError):
    """The server is well and has too much to do (status 429)."""


class Transport:
    """Connections to the replicas of one server, made anew in each event loop.

    The caller bounds how many requests run at once. Redirects are not followed, and proxies named
    in the environment are not used, so that the key goes only where the card says.

    Parameters
    ----------
    base_urls : addresses up to and including ``/v1``.
    path : what follows them.
    api_key : sent to all of them as a bearer token; it is in no error and no ``repr``.
    keep_alive : connections to each replica to keep open between requests.
    http : stands in for the network in tests.
    """

    def __init__(
        self,
        base_urls: Sequence[str],
        path: str,
        api_key: str | None,
        *,
        keep_alive: int,
        clock: Clock,
        http: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.urls = [f"{url.rstrip('/')}/{path}" for url in base_urls]
        """Where to post."""
        self._key = api_key
        self._clock = clock
        self._http = http
        # Made once, since it reads every certificate; plain addresses never use it.
        self._tls = (
            httpx.create_ssl_context(trust_env=False)
            if any(url.startswith("https") for url in base_urls)
            else False
        )
        self._connections = PerLoop(lambda: Connections(self._new_client, keep_alive))

    @asynccontextmanager
    async def post(self, url: str, body: bytes) -> AsyncIterator[httpx.Response]:
        """Send a request; the reply's head is there and good, its body is yet to be read.

        Raises
        ------
        LMError : the connection failed, before or while the body is read, or the server refused.
        """
        try:
            async with (
                self._connections.get().one(url) as client,
                client.stream("POST", url, content=body) as response,
            ):
                if response.status_code != 200:
                    raise await self._refusal(response)
                yield response
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise UnreachableError(f"cannot connect: {_named(error)}", retryable=True) from None
        except httpx.TransportError as error:
            raise LMError(f"the connection failed: {_named(error)}", retryable=True) from None

    def told(self, error: LMError, url: str, *, retryable: bool) -> LMError:
        """The error as it may be shown: with the address, without the key, not too long."""
        reason = error.reason
        if self._key is not None:
            in_json = json.dumps(self._key)[1:-1]
            for spelling in (self._key, in_json, in_json.replace("/", "\\/")):
                reason = reason.replace(spelling, "[key]")
        if len(reason) > _MAX_REASON_CHARACTERS:
            reason = reason[:_MAX_REASON_CHARACTERS] + "…"
        return type(error)(
            f"{url}: {reason}",
            retryable=retryable,
            retry_after_seconds=error.retry_after_seconds,
        )

    async def aclose(self) -> None:
        """Close the connections that belong to the running event loop."""
        connections = self._connections.pop()
        if connections is not None:
            await connections.aclose()

    def _new_client(self) -> httpx.AsyncClient:
        headers = {
            "Accept": "application/json, text/event-stream",
            "Accept-Encoding": "identity",  # so that MAX_REPLY_BYTES bounds what is kept
            "Content-Type": "application/json",
            "User-Agent": "archon",
        }
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        return httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_connections=1),
            transport=self._http,
            verify=self._tls,
        )

    async def _refusal(self, response: httpx.Response) -> LMError:
        status = response.status_code
        if 300 <= status < 400:
            target = response.headers.get("location", "an unnamed place")
            return LMError(
                f"status {status}, a redirect to {target}; redirects are not followed, so write "
                "the final address into the card's base_urls"
            )
        content = b""
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) >= _MAX_ERROR_BYTES:
                break
        kind = BusyError if status == 429 else LMError
        return kind(
            f"status {status}: {error_text(content) or response.reason_phrase}",
            retryable=status in _RETRYABLE or status >= 500,
            retry_after_seconds=retry_after_seconds(
                response.headers.get("retry-after"), self._clock
            ),
        )


def _named(error: httpx.HTTPError) -> str:
    """Some transport errors have no text of their own."""
    return str(error) or type(error).__name__


# ------------------------------------------------------------------------------ reading bodies


def content_type(response: httpx.Response) -> str:
    """The media type of a reply, without its parameters."""
    header: str = response.headers.get("content-type", "")
    return header.partition(";")[0].strip().lower()


async def read_body(response: httpx.Response) -> bytes:
    """The whole body."""
    async with aclosing(_chunks(response)) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def read_events(response: httpx.Response, handle: Callable[[bytes], None]) -> None:
    """Hand over the data of each server-sent event, up to the one that says it was the last."""
    parser = EventParser()
    async with aclosing(_chunks(response)) as chunks:
        async for chunk in chunks:
            for event in parser.feed(chunk):
                if event == DONE:
                    return
                handle(event)
    for event in parser.end():
        if event != DONE:
            handle(event)


async def _chunks(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """The body in pieces, as long as it is neither compressed nor too large."""
    encoding = response.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise LMError(f"the reply is compressed ({encoding}) although that was not asked for")
    num_bytes = 0
    async for chunk in response.aiter_raw():
        num_bytes += len(chunk)
        if num_bytes > MAX_REPLY_BYTES:
            raise LMError(f"the reply is larger than {MAX_REPLY_BYTES // 2**20} MiB")
        yield chunk
