"""The ``POST /v1/chat/completions`` endpoint, from the request body to the response.

::

    read → validate → wait for a slot → run the model → send one object or a stream

If the client disconnects, its call is cancelled. A comment is sent if a stream has no events for
some seconds, even while its request is waiting in the queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace

from starlette.types import Receive, Scope, Send

from archon.graph.lm import ArchitectureLM
from archon.lm.base import LM, NO_THINKING, supports
from archon.lm.reasoning import generate_answers
from archon.lm.sample_failures import require_all
from archon.serve import asgi_io
from archon.serve.admission import Admission
from archon.serve.asgi_io import KEEP_ALIVE, LAST_EVENT, ResponseWriter, comment, event, read_body
from archon.serve.cancellation import DisconnectedError, stream, until_disconnect, with_timeouts
from archon.serve.errors import SHUTTING_DOWN, Failure, failure, out_of_time
from archon.serve.fields import IGNORED_HEADER, SAMPLING, BadRequestError
from archon.serve.limits import Limits, token_bound
from archon.serve.metrics import Metrics, RequestMetrics
from archon.serve.requests import ChatRequest, read_chat_request
from archon.serve.responses import ResponseBuilder, progress
from archon.types import Completion, Event, Request, TokenDelta

_MAX_LISTED = 20
_CLIENT_CLOSED_REQUEST = 499  # for metrics only
_LAST_EVENT_SECONDS = 1
"""Timeout for sending an error at the end of a stream."""


class ChatCompletions:
    """The ``POST /v1/chat/completions`` endpoint as an ASGI application."""

    def __init__(
        self,
        lms: Mapping[str, LM],
        limits: Limits,
        admission: Admission,
        metrics: Metrics,
        *,
        is_strict: bool = False,
    ) -> None:
        self._lms, self._limits, self._is_strict = dict(lms), limits, is_strict
        self._admission, self._metrics = admission, metrics
        self._token_bounds = {name: token_bound(lm) for name, lm in self._lms.items()}
        self._deadlines: set[asyncio.Timeout] = set()
        self._is_cut_off = False

    def cut_off(self) -> None:
        """End running requests and reject new requests, with the ``SHUTTING_DOWN`` response."""
        self._is_cut_off = True
        now = asyncio.get_running_loop().time()
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(now)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        metrics, writer = RequestMetrics(self._metrics), ResponseWriter(send)
        limit = self._limits.max_seconds
        try:
            async with asyncio.timeout(0 if self._is_cut_off else limit) as deadline:
                self._deadlines.add(deadline)
                try:
                    await self._answer(scope, receive, writer, metrics)
                finally:
                    self._deadlines.discard(deadline)
        except DisconnectedError:
            metrics.status = _CLIENT_CLOSED_REQUEST
        except Exception as error:
            if isinstance(error, TimeoutError) and deadline.expired():
                response = SHUTTING_DOWN if self._is_cut_off else out_of_time(limit)
            else:
                response = failure(error)
            metrics.status = response.status
            await _send_error(writer, response)
        finally:
            metrics.finish()

    async def _answer(
        self, scope: Scope, receive: Receive, writer: ResponseWriter, metrics: RequestMetrics
    ) -> None:
        body = await read_body(scope, receive, self._limits.max_body_bytes)
        chat = read_chat_request(body, is_strict=self._is_strict)
        lm = self._lms.get(chat.model)
        if lm is None:
            raise unknown_model(chat.model, self._lms)
        metrics.model = chat.model
        request = chat.request()
        self._check(chat, request, lm)
        if "thinking" not in lm.capabilities:  # reasoning_effort is only a hint
            request = replace(request, thinking=NO_THINKING)
            if chat.reasoning_effort is not None:
                chat.ignored.add("reasoning_effort", "reasoning_effort")
        if isinstance(lm, ArchitectureLM) and not lm.sampled_nodes:
            for name in SAMPLING:
                if getattr(chat, name) is not None:
                    chat.ignored.add(name, name)
        if chat.ignored.names:
            metrics.count_ignored(chat.ignored.names)
            writer.headers[IGNORED_HEADER] = ", ".join(chat.ignored.names)
        if chat.stream:
            await until_disconnect(receive, self._stream(lm, chat, request, writer, metrics))
            await writer.end()
        else:
            completions = await until_disconnect(receive, self._generate(lm, request))
            require_all(completions)
            metrics.count_tokens(completions)
            await writer.send_json(ResponseBuilder(chat).complete(completions))

    def _check(self, chat: ChatRequest, request: Request, lm: LM) -> None:
        """Check that the model supports a request, and that the request does not exceed any limit.

        Raises
        ------
        BadRequestError
            The request fails a check. The error names the field at fault.
        """
        constraint = request.constraint
        unsupported = {
            "logprobs": request.logprobs and "logprobs" not in lm.capabilities,
            "response_format": constraint is not None and not supports(lm.capabilities, constraint),
            "chat_template_kwargs": bool(chat.chat_template_kwargs)
            and "thinking" not in lm.capabilities,
        }
        for param, is_unsupported in unsupported.items():
            if is_unsupported:
                reason = f"{chat.model} does not support {param}"
                if isinstance(lm, ArchitectureLM) and not lm.generates:
                    reason += ": its output node selects a text instead of generating one"
                raise BadRequestError(reason, param=param, code="unsupported")
        if chat.wants_trace and not isinstance(lm, ArchitectureLM):
            reason = f"{chat.model} is a model, and only architectures have traces; omit trace"
            raise BadRequestError(reason, param="archon.trace", code="unsupported")
        limit = self._limits.max_messages
        if len(chat.messages) > limit:
            reason = f"the request has more than {limit} messages (--max-messages)"
            raise BadRequestError(reason, param="messages", code="too_many_messages")
        limit = self._limits.max_request_tokens
        tokens = request.n * self._token_bounds[chat.model](request.sampling)
        if tokens > limit:
            reason = (
                f"the request may generate up to {tokens} tokens across all nodes and answers, "
                f"but the limit is {limit} (--max-request-tokens); lower n or max_tokens"
            )
            raise BadRequestError(reason, param="n", code="too_many_tokens")

    async def _generate(self, lm: LM, request: Request) -> list[Completion]:
        async with self._admission.slot():
            return await generate_answers(lm, request)

    async def _stream(
        self,
        lm: LM,
        chat: ChatRequest,
        request: Request,
        writer: ResponseWriter,
        metrics: RequestMetrics,
    ) -> None:
        """Stream the answers as they are generated. The caller ends the response.

        The response starts when the model's first event arrives, so that an earlier failure can
        still set an error status. If the first event takes too long, the response starts with a
        keep-alive comment.
        """
        builder = ResponseBuilder(chat)
        with_text, with_reasoning = set[int](), set[int]()  # indices of answers
        is_first = True
        batches = with_timeouts(self._batches(lm, request), asgi_io.KEEP_ALIVE_SECONDS)
        async with aclosing(batches):
            async for batch in batches:
                if batch is None:
                    await writer.write(KEEP_ALIVE)
                    continue
                pieces: list[bytes] = []
                if is_first:
                    is_first = False
                    pieces += [event(builder.first(index)) for index in range(request.n)]
                for index, item in enumerate(batch):
                    if isinstance(item, TokenDelta) and not item.node:
                        (with_reasoning if item.is_reasoning else with_text).add(item.draw)
                        more = builder.delta(item.draw, item.text, is_reasoning=item.is_reasoning)
                        pieces.append(event(more))
                    elif isinstance(item, Completion):
                        if item.reasoning and index not in with_reasoning | with_text:
                            more = builder.delta(index, item.reasoning, is_reasoning=True)
                            pieces.append(event(more))
                        if item.text and index not in with_text:
                            with_text.add(index)
                            pieces.append(event(builder.delta(index, item.text)))
                        pieces.append(event(builder.last(index, item)))
                    elif (step := progress(item)) is not None:
                        pieces.append(comment(step))
                if with_text or with_reasoning:
                    metrics.note_first_token()
                completions = require_all([item for item in batch if isinstance(item, Completion)])
                if completions:
                    metrics.count_tokens(completions)
                    if chat.wants_usage:
                        pieces.append(event(builder.usage_chunk(completions)))
                    pieces.append(LAST_EVENT)
                if pieces:
                    await writer.write(b"".join(pieces))

    async def _batches(
        self, lm: LM, request: Request
    ) -> AsyncGenerator[list[Event] | list[Completion], None]:
        async with self._admission.slot(), aclosing(stream(lm, request)) as batches:
            async for batch in batches:
                yield batch


def unknown_model(name: str, served: Iterable[str]) -> BadRequestError:
    """Return the error for a request whose model is not served."""
    listed = ", ".join(map(repr, itertools.islice(served, _MAX_LISTED)))
    reason = f"the model {name[:200]!r} does not exist; GET /v1/models lists all models: {listed}"
    return BadRequestError(reason, param="model", code="model_not_found", status=404)


async def _send_error(writer: ResponseWriter, error: Failure) -> None:
    """Send an error as the response, or as the last event if the stream has already started."""
    if not writer.is_started:
        await writer.send_json(error.body(), error.status, error.headers)
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_EVENT_SECONDS):
            await writer.write(event(error.body()))
            await writer.end()
