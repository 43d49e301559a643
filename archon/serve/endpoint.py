"""Base of the endpoints that run a model: from the request's body to the end of the response.

::

    read → validate → wait for a slot → run the model → send one object or a stream

If the client disconnects, its call is cancelled. A comment is sent if a stream has no events for
some seconds, even while its request is waiting in the queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import ClassVar, TypeVar

from starlette.types import Receive, Scope, Send

from archon.graph.lm import ArchitectureLM
from archon.lm.base import LM
from archon.lm.reasoning import generate_answers
from archon.lm.sample_failures import require_all
from archon.serve import asgi_io
from archon.serve.admission import Admission
from archon.serve.asgi_io import ResponseWriter, event, read_body
from archon.serve.cancellation import DisconnectedError, stream, until_disconnect, with_timeouts
from archon.serve.errors import CHAT_FIELDS, SHUTTING_DOWN, Failure, failure, out_of_time
from archon.serve.fields import IGNORED_HEADER, SAMPLING, BadRequestError
from archon.serve.limits import Limits, token_bound
from archon.serve.metrics import Metrics, RequestMetrics
from archon.serve.request_object import RequestBody
from archon.serve.routes import wrong_route
from archon.types import Completion, Event, OnEvent, Request, SamplingParams

T = TypeVar("T")

_MAX_LISTED = 20
_CLIENT_CLOSED_REQUEST = 499  # for metrics only
_TOKEN_FIELDS = ("n", "max_tokens")
_LAST_EVENT_SECONDS = 1
"""Timeout for sending an error at the end of a stream."""


class ServedModels:
    """The models of a server, and what its endpoints share: limits, queue and metrics."""

    def __init__(
        self,
        lms: Mapping[str, LM],
        limits: Limits,
        admission: Admission,
        metrics: Metrics,
        *,
        is_strict: bool = False,
    ) -> None:
        self.lms, self.limits, self.is_strict = dict(lms), limits, is_strict
        self.admission, self.metrics = admission, metrics
        self._token_bounds = {name: token_bound(lm) for name, lm in self.lms.items()}
        self._deadlines: set[asyncio.Timeout] = set()
        self._is_cut_off = False

    def find(self, name: str) -> LM:
        """Return the model that a request names.

        Raises
        ------
        BadRequestError
            No such model is served.
        """
        if name not in self.lms:
            raise unknown_model(name, self.lms)
        return self.lms[name]

    def check_tokens(
        self, name: str, sampling: SamplingParams, n: int, *, fields: Sequence[str] = _TOKEN_FIELDS
    ) -> None:
        """Check that ``n`` answers do not exceed the limit of tokens per request.

        ``fields`` are the request's fields that decide the number of tokens, for the error.

        Raises
        ------
        BadRequestError
            They may exceed it.
        """
        limit = self.limits.max_request_tokens
        tokens = n * self._token_bounds[name](sampling)
        if tokens > limit:
            reason = (
                f"the request may generate up to {tokens} tokens across all nodes and answers, "
                f"but the limit is {limit} (--max-request-tokens); lower {' or '.join(fields)}"
            )
            raise BadRequestError(reason, param=fields[0], code="too_many_tokens")

    def cut_off(self) -> None:
        """End running requests and reject new requests, with the ``SHUTTING_DOWN`` response."""
        self._is_cut_off = True
        now = asyncio.get_running_loop().time()
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(now)

    @contextlib.asynccontextmanager
    async def deadline(self) -> AsyncGenerator[asyncio.Timeout]:
        """Limit the time of a request to ``max_seconds``, or until the server is cut off."""
        limit = 0 if self._is_cut_off else self.limits.max_seconds
        async with asyncio.timeout(limit) as deadline:
            self._deadlines.add(deadline)
            try:
                yield deadline
            finally:
                self._deadlines.discard(deadline)

    def out_of_time(self) -> Failure:
        """Return the response to a request whose deadline has passed."""
        return SHUTTING_DOWN if self._is_cut_off else out_of_time(self.limits.max_seconds)


class Exchange:
    """One request to an endpoint, and the response to it."""

    def __init__(self, served: ServedModels, scope: Scope, receive: Receive, send: Send) -> None:
        self._served, self._scope, self._receive = served, scope, receive
        self.metrics, self.writer = RequestMetrics(served.metrics), ResponseWriter(send)
        self.encode_failure: Callable[[Failure], bytes] = lambda error: event(error.body())
        """Encodes the event that ends a stream whose request fails."""

    async def body(self) -> bytes:
        """Read the request's body; see ``read_body``."""
        return await read_body(self._scope, self._receive, self._served.limits.max_body_bytes)

    def model(self, name: str, *capabilities: str) -> LM:
        """Return the model that the request names, and record its name; see ``find``.

        Parameters
        ----------
        capabilities
            Capabilities of which the route needs one; by default ``chat``.

        Raises
        ------
        BadRequestError
            No such model is served, or it does not have the capability. The error names the model's
            routes.
        """
        lm = self._served.find(name)
        self.metrics.model = name
        if lm.capabilities.isdisjoint(capabilities or ("chat",)):
            raise wrong_route(name, lm)
        return lm

    def report_ignored(self, body: RequestBody, lm: LM | None = None) -> None:
        """Report ignored fields in the metrics and, before the response starts, in its header.

        They include the sampling fields if ``lm`` is an architecture in which no node samples.
        """
        if isinstance(lm, ArchitectureLM) and not lm.sampled_nodes:
            for name in (*SAMPLING, "max_output_tokens"):
                if getattr(body, name, None) is not None:
                    body.ignored.add(name, name)
        if names := body.ignored.names:
            self.metrics.count_ignored(names)
            self.writer.headers[IGNORED_HEADER] = ", ".join(names)

    async def generate(
        self, lm: LM, request: Request, on_event: OnEvent | None = None
    ) -> list[Completion]:
        """Run a model as soon as a slot is free; cancel it if the client disconnects.

        Raises
        ------
        LMError
            A sample failed.
        """
        completions = await self.run(lambda: generate_answers(lm, request, on_event))
        require_all(completions)
        self.metrics.count_tokens(completions)
        return completions

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do work as soon as a slot is free; cancel it if the client disconnects."""

        async def in_slot() -> T:
            async with self._served.admission.slot():
                return await work()

        return await until_disconnect(self._receive, in_slot())

    async def send_stream(self, parts: AsyncGenerator[bytes, None]) -> None:
        """Send encoded events as the response; close ``parts`` if the client disconnects.

        The response starts with the first part, so that an earlier failure can still set an error
        status. If the first part takes too long, the response starts with a keep-alive comment.
        """
        await until_disconnect(self._receive, self._write(parts))
        await self.writer.end()

    async def _write(self, parts: AsyncGenerator[bytes, None]) -> None:
        timed = with_timeouts(parts, asgi_io.KEEP_ALIVE_SECONDS)
        async with aclosing(timed):
            async for part in timed:
                await self.writer.write(asgi_io.KEEP_ALIVE if part is None else part)

    async def batches(
        self, lm: LM, request: Request, *, node_deltas: bool = False
    ) -> AsyncGenerator[list[Event] | list[Completion], None]:
        """Yield a request's events in batches, and finally all completions, without failed ones.

        ``node_deltas`` adds the text of individual nodes.

        Raises
        ------
        LMError
            A sample failed.
        """
        events = stream(lm, request, node_deltas=node_deltas)
        async with self._served.admission.slot(), aclosing(events) as batches:
            async for batch in batches:
                if completions := [item for item in batch if isinstance(item, Completion)]:
                    require_all(completions)
                    self.metrics.count_tokens(completions)
                yield batch


class ModelEndpoint(ABC):
    """An endpoint that runs a model, as an ASGI application.

    It sends an error response if ``answer`` raises an error, ends after the time limit, and records
    the request's metrics.
    """

    fields: ClassVar[Mapping[str, str]] = CHAT_FIELDS
    """Fields of the request, for errors; see ``failure``."""

    def __init__(self, served: ServedModels) -> None:
        self.served = served

    @abstractmethod
    async def answer(self, exchange: Exchange) -> None:
        """Read the request and send the response.

        Raises
        ------
        BadRequestError
            The request is invalid or not supported.
        """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(self.served, scope, receive, send)
        metrics = exchange.metrics
        deadline: asyncio.Timeout | None = None
        try:
            async with self.served.deadline() as deadline:
                await self.answer(exchange)
        except DisconnectedError:
            metrics.status = _CLIENT_CLOSED_REQUEST
        except Exception as error:
            if isinstance(error, TimeoutError) and deadline is not None and deadline.expired():
                response = self.served.out_of_time()
            else:
                response = failure(error, self.fields)
            metrics.status = response.status
            await _send_error(exchange, response)
        finally:
            metrics.finish()


def unknown_model(name: str, served: Iterable[str]) -> BadRequestError:
    """Return the error for a request whose model is not served."""
    listed = ", ".join(map(repr, itertools.islice(served, _MAX_LISTED)))
    reason = f"the model {name[:200]!r} does not exist; GET /v1/models lists all models: {listed}"
    return BadRequestError(reason, param="model", code="model_not_found", status=404)


async def _send_error(exchange: Exchange, error: Failure) -> None:
    """Send an error as the response, or as the last event if the stream has already started."""
    writer = exchange.writer
    if not writer.is_started:
        await writer.send_json(error.body(), error.status, error.headers)
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_EVENT_SECONDS):
            await writer.write(exchange.encode_failure(error))
            await writer.end()
