"""``POST /v1/chat/completions``: from the body of a request to its response.

::

    read → validate → wait for a slot → run the model → send, whole or as a stream

If the client disconnects, its call is cancelled. A stream that is silent for some seconds, also
while it waits in the queue, sends a comment.
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
from archon.lm.reasoning import answered
from archon.lm.sample_failures import require_all
from archon.serve import asgi_io
from archon.serve.admission import Admission
from archon.serve.asgi_io import KEEP_ALIVE, LAST_EVENT, ResponseWriter, comment, event, read_body
from archon.serve.cancellation import DisconnectedError, stream, until_disconnect, with_silences
from archon.serve.errors import SHUTTING_DOWN, Failure, failure, out_of_time
from archon.serve.fields import SAMPLING, FieldError
from archon.serve.limits import Limits, token_bound
from archon.serve.metrics import Metrics, RequestMetrics
from archon.serve.requests import BadRequestError, ChatRequest, read_chat_request
from archon.serve.responses import ResponseBuilder, progress
from archon.types import Completion, Event, Request, TokenDelta

IGNORED_HEADER = "x-archon-ignored"
"""Header that names the fields of a request that had no effect."""
_MAX_LISTED = 20
_CLIENT_CLOSED_REQUEST = 499  # for metrics only
_LAST_EVENT_SECONDS = 1
"""To send the last event, which says why a stream ends, to a client that reads slowly."""


class ChatCompletions:
    """The endpoint, an ASGI application."""

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
        """End all running requests and reject new ones; each response says so."""
        self._is_cut_off = True
        now = asyncio.get_running_loop().time()
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(now)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record, reply = RequestMetrics(self._metrics), ResponseWriter(send)
        try:
            seconds = 0 if self._is_cut_off else self._limits.max_seconds
            async with asyncio.timeout(seconds) as deadline:
                self._deadlines.add(deadline)
                try:
                    await self._answer(scope, receive, reply, record)
                finally:
                    self._deadlines.discard(deadline)
        except DisconnectedError:
            record.status = _CLIENT_CLOSED_REQUEST
        except Exception as error:
            if isinstance(error, TimeoutError) and deadline.expired():
                told = SHUTTING_DOWN if self._is_cut_off else out_of_time(self._limits.max_seconds)
            else:
                told = failure(error)
            record.status = told.status
            await _fail(reply, told)
        finally:
            record.ends()

    async def _answer(
        self, scope: Scope, receive: Receive, reply: ResponseWriter, record: RequestMetrics
    ) -> None:
        body = await read_body(scope, receive, self._limits.max_body_bytes)
        chat = read_chat_request(body, is_strict=self._is_strict)
        lm = self._lms.get(chat.model)
        if lm is None:
            raise unknown_model(chat.model, self._lms)
        record.model = chat.model
        request = chat.request()
        self._check(chat, request, lm)
        if "thinking" not in lm.capabilities:  # an effort is a hint
            request = replace(request, thinking=NO_THINKING)
            if chat.reasoning_effort is not None:
                _ignore(chat, "reasoning_effort")
        _ignore_sampling(chat, lm)
        if chat.ignored.names:
            record.ignored(chat.ignored.names)
            reply.headers[IGNORED_HEADER] = ", ".join(chat.ignored.names)
        if not chat.stream:
            completions = await until_disconnect(receive, self._generate(lm, request))
            require_all(completions)
            record.answered(completions)
            await reply.whole(ResponseBuilder(chat).whole(completions))
        else:
            await until_disconnect(receive, self._stream(lm, chat, request, reply, record))
            await reply.end()

    def _check(self, chat: ChatRequest, request: Request, lm: LM) -> None:
        """Reject what the model cannot do and what exceeds the limits.

        Raises
        ------
        BadRequestError
            Names the key.
        """
        form = request.constraint
        lacks = {
            "logprobs": request.logprobs and "logprobs" not in lm.capabilities,
            "response_format": form is not None and not supports(lm.capabilities, form),
            "chat_template_kwargs": bool(chat.chat_template_kwargs)
            and "thinking" not in lm.capabilities,
        }
        for param, is_lacking in lacks.items():
            if is_lacking:
                reason = f"{chat.model} cannot give {param}"
                if isinstance(lm, ArchitectureLM) and not lm.generates:
                    reason += ": its output node selects a text and does not generate one"
                raise BadRequestError(reason, param=param, code="unsupported")
        if chat.wants_trace and not isinstance(lm, ArchitectureLM):
            reason = f"{chat.model} is not an architecture: there are no nodes to trace"
            raise BadRequestError(reason, param="archon.trace", code="unsupported")
        most = self._limits.max_messages
        if len(chat.messages) > most:
            reason = f"there are more than {most} messages (--max-messages)"
            raise BadRequestError(reason, param="messages", code="too_many_messages")
        most, each = self._limits.max_request_tokens, self._token_bounds[chat.model]
        if (tokens := request.n * each(request.sampling)) > most:
            reason = (
                f"n answers may take {tokens} new tokens in all nodes; the limit is {most} "
                "(--max-request-tokens): lower n or max_tokens"
            )
            raise BadRequestError(reason, param="n", code="too_many_tokens")

    async def _generate(self, lm: LM, request: Request) -> list[Completion]:
        async with self._admission.slot():
            return await answered(lm, request)

    async def _stream(
        self,
        lm: LM,
        chat: ChatRequest,
        request: Request,
        reply: ResponseWriter,
        record: RequestMetrics,
    ) -> None:
        """Send the answer as it arrives, without the end of the response.

        The response starts with the model's first event, so that a request that fails before it
        gets an error status, or with a keep-alive comment if the first event takes long.
        """
        replies = ResponseBuilder(chat)
        has_text = [False] * request.n
        has_reasoning = [False] * request.n
        has_begun = False
        parts = with_silences(self._parts(lm, request), asgi_io.KEEP_ALIVE_SECONDS)
        async with aclosing(parts):
            async for part in parts:
                if part is None:
                    await reply.write(KEEP_ALIVE)
                    continue
                pieces: list[bytes] = []
                if not has_begun:
                    has_begun = True
                    pieces += [event(replies.first(index)) for index in range(request.n)]
                for index, said in enumerate(part):
                    if isinstance(said, TokenDelta) and not said.node:
                        has_any = has_reasoning if said.is_reasoning else has_text
                        has_any[said.draw] = True
                        more = replies.delta(said.draw, said.text, is_reasoning=said.is_reasoning)
                        pieces.append(event(more))
                    elif isinstance(said, Completion):
                        if said.reasoning and not (has_reasoning[index] or has_text[index]):
                            more = replies.delta(index, said.reasoning, is_reasoning=True)
                            pieces.append(event(more))
                        if said.text and not has_text[index]:
                            has_text[index] = True
                            pieces.append(event(replies.delta(index, said.text)))
                        pieces.append(event(replies.last(index, said)))
                    elif (step := progress(said)) is not None:
                        pieces.append(comment(step))
                if any(has_text) or any(has_reasoning):
                    record.text_begins()
                completions = require_all([said for said in part if isinstance(said, Completion)])
                if completions:
                    record.answered(completions)
                    if chat.wants_usage:
                        pieces.append(event(replies.usage_chunk(completions)))
                    pieces.append(LAST_EVENT)
                if pieces:
                    await reply.write(b"".join(pieces))

    async def _parts(
        self, lm: LM, request: Request
    ) -> AsyncGenerator[list[Event] | list[Completion], None]:
        async with self._admission.slot(), aclosing(stream(lm, request)) as parts:
            async for part in parts:
                yield part


def _ignore_sampling(chat: ChatRequest, lm: LM) -> None:
    """Report the sampling of a request whose architecture ignores it.

    Raises
    ------
    BadRequestError
        Nothing may be ignored.
    """
    if not isinstance(lm, ArchitectureLM) or lm.sampled_nodes:
        return
    for name in SAMPLING:
        if getattr(chat, name) is not None:
            _ignore(chat, name)


def _ignore(chat: ChatRequest, name: str) -> None:
    """Report a field as ignored.

    Raises
    ------
    BadRequestError
        Nothing may be ignored.
    """
    try:
        chat.ignored.add(name, name)
    except FieldError as error:
        reason = f"{name}: {error.reason}"
        raise BadRequestError(reason, param=name, code=error.code) from None


def unknown_model(name: str, served: Iterable[str]) -> BadRequestError:
    """The error for a name that is not served."""
    listed = ", ".join(map(repr, itertools.islice(served, _MAX_LISTED)))
    reason = f"there is no model {name[:200]!r} here; GET /v1/models lists all: {listed}"
    return BadRequestError(reason, param="model", code="model_not_found", status=404)


async def _fail(reply: ResponseWriter, told: Failure) -> None:
    """Send an error: as the response, or as the last event of a stream."""
    if not reply.is_begun:
        await reply.whole(told.body(), told.status, told.headers)
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LAST_EVENT_SECONDS):
            await reply.write(event(told.body()))
            await reply.end()
