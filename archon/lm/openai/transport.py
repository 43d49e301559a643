"""HTTP transport, with size limits and the removal of secrets from errors.

Each connection serves one request at a time. After a failed or cancelled request the connection is
closed; otherwise it is reused. The connection pool of httpcore 1.0.9 is not used, because it leaks
slots and sockets when requests are cancelled at certain moments (encode/httpcore#1093). In a test
with 4,000 cancelled requests, it leaked 64 sockets and 28 requests.
"""

from __future__ import annotations

import copy
import json
import os
import ssl
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from urllib.request import getproxies, proxy_bypass

import httpx

from archon.errors import LMError, RefusedError, UsageError
from archon.lm.concurrency import PerLoop
from archon.lm.openai.field_adaptation import is_unknown_argument, rejected_field_error
from archon.lm.openai.server_errors import BusyError, GarbledError, UnreachableError, error_text
from archon.lm.openai.sse import DONE, EventParser
from archon.lm.retry import Clock, retry_after_seconds
from archon.tracing.spans import trace_headers

MAX_REPLY_BYTES = 32 * 1024 * 1024
_MAX_ERROR_BYTES = 16 * 1024
_MAX_REASON_CHARACTERS = 500
_CONNECT_SECONDS = 10.0
_RETRYABLE = frozenset({408, 409, 425, 429})
_REFUSED = frozenset({401, 402, 403, 404, 405, 407})
"""HTTP statuses with which a server refuses a request regardless of its body."""
_SUCCESS = frozenset({200, 201})
_GZIP = frozenset({"gzip", "x-gzip"})
_GZIP_BITS = 16 + zlib.MAX_WBITS
_FAULT_OF_BODY = frozenset({400, 422})
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Environment variables that name trusted certificates. The first one that is set applies.
"""
_MIN_SECRET = 6
"""Minimum length of a secret header value. Shorter values may occur in any text.
"""


class Transport:
    """Connections to a server's replicas, separate for each event loop.

    The caller limits the number of concurrent requests. Redirects are not followed, so that the key
    is sent only to the card's addresses or to a proxy set in the environment.

    Parameters
    ----------
    base_urls
        Addresses of the replicas, up to and including ``/v1``.
    path
        Path to append to each address, such as ``chat/completions``.
    api_key
        API key, sent as a bearer token. Errors and ``repr`` do not show it.
    keep_alive
        Maximum number of idle connections to keep open per replica.
    headers
        Additional HTTP headers.
    secrets
        Header values that must not be shown in errors.
    trust_env
        Use the environment's proxies and certificates, as httpx does
        (``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``, ``SSL_CERT_FILE``,
        ``SSL_CERT_DIR``).
    http
        Transport that replaces the network in tests.

    Raises
    ------
    UsageError
        The environment's certificates cannot be read.
    """

    def __init__(
        self,
        base_urls: Sequence[str],
        path: str,
        api_key: str | None,
        *,
        keep_alive: int,
        clock: Clock,
        headers: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
        trust_env: bool = True,
        http: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.urls = [f"{url.rstrip('/')}/{path}" for url in base_urls]
        """Full addresses of the endpoint, one per replica."""
        self._key, self._headers = api_key, dict(headers or {})
        self._secrets = [secret for secret in secrets if len(secret) >= _MIN_SECRET]
        if api_key is not None:
            self._secrets.append(api_key)
        self._clock, self._http, self._trust_env = clock, http, trust_env
        # Created once, since it reads every certificate. Plain HTTP does not need it.
        is_secure = any(url.startswith("https") for url in base_urls)
        self._tls = tls_context(trust_env) if is_secure else False
        self._connections = PerLoop(lambda: ConnectionPool(self._new_client, keep_alive))

    @asynccontextmanager
    async def post(self, url: str, body: bytes) -> AsyncIterator[httpx.Response]:
        """Post ``body`` and yield the successful response, before its body is read.

        Raises
        ------
        LMError
            The server refused the request, or the connection failed. It may also fail while the
            caller reads the body.
        """
        try:
            async with (
                self._connections.get().connection(url) as client,
                client.stream("POST", url, content=body, headers=trace_headers()) as response,
            ):
                if response.status_code not in _SUCCESS:
                    raise await self._refusal(response, body)
                yield response
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                reason = f"the server's certificate cannot be verified: {_description(error)}"
                raise RefusedError(reason + self._certificate_hint(reason)) from None
            reason = f"cannot connect: {_description(error)}{self._proxy_hint(url)}"
            raise UnreachableError(reason, retryable=True) from None
        except httpx.TransportError as error:
            raise LMError(f"the connection failed: {_description(error)}", retryable=True) from None

    def redacted(self, error: LMError, url: str, *, retryable: bool, hint: str = "") -> LMError:
        """Return a copy of an error for display, without secrets and of limited length.

        Its text begins with the server's address and ends with ``hint``.
        """
        reason = error.reason
        for secret in self._secrets:
            in_json = json.dumps(secret)[1:-1]
            for spelling in (secret, in_json, in_json.replace("/", "\\/")):
                reason = reason.replace(spelling, "[key]")
        if len(reason) > _MAX_REASON_CHARACTERS:
            reason = reason[:_MAX_REASON_CHARACTERS] + "…"
        shown = copy.copy(error)
        shown.reason = f"{url}: {reason}{'; ' if hint else ''}{hint}"
        shown.args, shown.retryable = (shown.reason,), retryable
        return shown

    async def aclose(self) -> None:
        """Close the connections that belong to the running event loop."""
        connections = self._connections.pop()
        if connections is not None:
            await connections.aclose()

    def _new_client(self) -> httpx.AsyncClient:
        headers = httpx.Headers(
            {
                "Accept": "application/json, text/event-stream",
                "Accept-Encoding": "identity",  # MAX_REPLY_BYTES is then the size in memory
                "Content-Type": "application/json",
                "User-Agent": "archon",
            }
        )
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        headers.update(self._headers)
        try:
            return httpx.AsyncClient(
                headers=headers,
                timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
                follow_redirects=False,
                trust_env=self._trust_env,
                limits=httpx.Limits(max_connections=1),
                transport=self._http,
                verify=self._tls,
            )
        except ImportError:
            reason = (
                "ALL_PROXY is a SOCKS proxy, which needs another package; install it with: pip "
                "install 'httpx[socks]'"
            )
        except (ValueError, httpx.InvalidURL) as error:
            reason = _proxy_fault(error)
        raise RefusedError(f'{reason}; set the card\'s "trust_env" to false to ignore it')

    def _certificate_hint(self, reason: str) -> str:
        if "address mismatch" in reason or "Hostname mismatch" in reason:
            return "; in the card's base_urls, use the host name of the certificate"
        if not self._trust_env:
            return '; SSL_CERT_FILE is ignored because the card sets "trust_env" to false'
        return (
            "; set SSL_CERT_FILE to a file with the certificate of the authority that signed it, "
            "or SSL_CERT_DIR to a folder of such files"
        )

    def _proxy_hint(self, url: str) -> str:
        """Return advice if a proxy set in the environment may be the cause; otherwise return ""."""
        parsed = httpx.URL(url)
        proxies = getproxies() if self._trust_env and self._http is None else {}
        if not proxies.keys() & {parsed.scheme, "all"} or proxy_bypass(parsed.host):
            return ""
        return (
            "; the environment sets a proxy for this address; to connect without it, set NO_PROXY "
            'or set the card\'s "trust_env" to false to ignore proxy settings'
        )

    async def _refusal(self, response: httpx.Response, body: bytes) -> LMError:
        status = response.status_code
        if 300 <= status < 400:
            target = response.headers.get("location", "an unknown address")
            return RefusedError(
                f"status {status}, a redirect to {target}; redirects are not followed, so put the "
                "final address into the card's base_urls",
                status=status,
            )
        content = b""
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) >= _MAX_ERROR_BYTES:
                break
        content = _readable(content, response)
        reason = f"status {status}: {error_text(content) or response.reason_phrase}"
        if status in _REFUSED:
            return RefusedError(reason, status=status)
        if status in _FAULT_OF_BODY or (status == 500 and is_unknown_argument(content)):
            rejection = rejected_field_error(reason, content, body)
            if rejection is not None:
                return rejection
        kind = BusyError if status == 429 else LMError
        return kind(
            reason,
            retryable=status in _RETRYABLE or status >= 500,
            retry_after_seconds=retry_after_seconds(
                response.headers.get("retry-after"), self._clock
            ),
        )


def tls_context(trust_env: bool) -> ssl.SSLContext:
    """Load the trusted certificates.

    Raises
    ------
    UsageError
        A certificate file or folder set in the environment cannot be read.
    """
    variable = next((name for name in _CERTIFICATES if os.environ.get(name)), None)
    if variable is None or not trust_env:
        return httpx.create_ssl_context(trust_env=False)
    named = os.environ[variable]
    try:
        if variable == "SSL_CERT_DIR":
            _check_folders([folder for folder in named.split(os.pathsep) if folder])
        return httpx.create_ssl_context()
    except (OSError, ssl.SSLError) as error:
        cause = error.strerror if isinstance(error, OSError) else None
        raise UsageError(
            f"the certificates that {variable} names cannot be read: {named}: {cause or error}; "
            'correct or unset the variable, or set the card\'s "trust_env" to false to ignore it'
        ) from None


def _check_folders(folders: Sequence[str]) -> None:
    """Check that a folder is readable, because OpenSSL treats unreadable folders as empty.

    Raises
    ------
    OSError
        No folder is readable. This is the last folder's error.
    """
    for number, folder in enumerate(folders, start=1):
        try:
            any(Path(folder).iterdir())
        except OSError:
            if number == len(folders):
                raise
        else:
            return


def _proxy_fault(error: Exception) -> str:
    """Describe which proxy variable is invalid. Its value may contain a password, so omit it."""
    proxies = getproxies()
    for scheme in ("http", "https", "all"):
        address = proxies.get(scheme)
        try:
            if address:
                httpx.Proxy(address if "://" in address else f"http://{address}")
        except (ValueError, httpx.InvalidURL):
            return f"{scheme.upper()}_PROXY must be a valid proxy address"
    return f"NO_PROXY is invalid: {error} (write IPv6 addresses without brackets)"


def _description(error: httpx.HTTPError) -> str:
    """Return an error's text, or the name of its type if it has no text."""
    return str(error) or type(error).__name__


class ConnectionPool:
    """Pool of idle connections for one event loop.

    Parameters
    ----------
    make
        Function that creates a client with at most one connection.
    keep
        Maximum number of idle connections to keep per server.
    """

    def __init__(self, make: Callable[[], httpx.AsyncClient], keep: int) -> None:
        self._make, self._keep = make, keep
        self._idle: dict[str, list[httpx.AsyncClient]] = {}
        self._is_closed = False

    @asynccontextmanager
    async def connection(self, server: str) -> AsyncIterator[httpx.AsyncClient]:
        """Yield the most recently used idle connection to the server, or open a new connection."""
        idle = self._idle.setdefault(server, [])
        client = idle.pop() if idle else self._make()
        is_intact = False
        try:
            yield client
            is_intact = True
        finally:
            if is_intact and not self._is_closed and len(idle) < self._keep:
                idle.append(client)
            else:
                await client.aclose()

    async def aclose(self) -> None:
        """Close idle connections. A connection in use is closed when its request ends."""
        self._is_closed = True
        for clients in self._idle.values():
            while clients:
                await clients.pop().aclose()


# -------------------------------------------------------------------------------------- bodies


def content_type(response: httpx.Response) -> str:
    """Return the media type of a response, without its parameters."""
    header: str = response.headers.get("content-type", "")
    return header.partition(";")[0].strip().lower()


async def read_body(response: httpx.Response) -> bytes:
    """Read and return the complete body of a response."""
    async with aclosing(_chunks(response)) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def read_events(response: httpx.Response, handle: Callable[[bytes], None]) -> bool:
    """Pass the data of each server-sent event to ``handle``, up to the final ``[DONE]``.

    Returns
    -------
    True if ``[DONE]`` arrived; False if the stream ended without it.
    """
    parser = EventParser()
    async with aclosing(_chunks(response)) as chunks:
        async for chunk in chunks:
            if _handle_all(parser.feed(chunk), handle):
                return True
    return _handle_all(parser.end(), handle)


def handle_events(content: bytes, handle: Callable[[bytes], None]) -> bool:
    """Handle the events of a body that has already been read, as ``read_events`` does."""
    parser = EventParser()
    return _handle_all(parser.feed(content), handle) or _handle_all(parser.end(), handle)


def _handle_all(events: list[bytes], handle: Callable[[bytes], None]) -> bool:
    for event in events:
        for data in _separated(event):
            if data.strip() == DONE:
                return True
            if data.strip():
                handle(data)
    return False


def _separated(event: bytes) -> list[bytes]:
    """Split data that consists of several events because the blank lines between them are missing.

    >>> _separated(b'{"id": 1}\\n[DONE]'), _separated(b'{"id":\\n1}')
    ([b'{"id": 1}', b'[DONE]'], [b'{"id":\\n1}'])
    """
    lines = event.split(b"\n")
    are_several = len(lines) > 1 and all(
        (line.startswith(b"{") and line.endswith(b"}")) or line == DONE for line in lines
    )
    return lines if are_several else [event]


async def _chunks(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """Yield the body in chunks; raise ``LMError`` if it exceeds ``MAX_REPLY_BYTES``.

    Some gateways compress replies with gzip although this was not requested. Other encodings are
    rejected.
    """
    encoding = _encoding(response)
    if encoding not in ("identity", *_GZIP):
        raise LMError(f"the reply is compressed ({encoding}) although this was not requested")
    gzip = zlib.decompressobj(_GZIP_BITS) if encoding in _GZIP else None
    num_bytes = 0
    async for raw in response.aiter_raw():
        chunk = raw
        if gzip is not None:
            try:
                chunk = gzip.decompress(raw, MAX_REPLY_BYTES - num_bytes + 1)
            except zlib.error:
                raise GarbledError("the reply is not valid gzip") from None
        num_bytes += len(chunk)
        if num_bytes > MAX_REPLY_BYTES:
            raise LMError(f"the reply is larger than {MAX_REPLY_BYTES // 2**20} MiB")
        yield chunk
    if gzip is not None and not gzip.eof:
        raise GarbledError("the compressed reply ends too early")


def _encoding(response: httpx.Response) -> str:
    encoding: str = response.headers.get("content-encoding", "identity")
    return encoding.strip().lower()


def _readable(content: bytes, response: httpx.Response) -> bytes:
    """Return the beginning of an error reply; decompress it if necessary."""
    if _encoding(response) not in _GZIP:
        return content
    try:
        return zlib.decompressobj(_GZIP_BITS).decompress(content, _MAX_ERROR_BYTES)
    except zlib.error:
        return b""
