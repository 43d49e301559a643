"""The ``POST /v1/chat/completions`` endpoint."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from archon.graph.architecture import Architecture
from archon.graph.lm import ArchitectureLM
from archon.lm.base import LM, NO_THINKING, supports
from archon.serve.asgi_io import LAST_EVENT, comment, event
from archon.serve.endpoint import Exchange, ModelEndpoint
from archon.serve.fields import BadRequestError
from archon.serve.progress import NodeEvents, ProgressLines
from archon.serve.requests import ChatRequest, read_chat_request
from archon.serve.responses import ResponseBuilder, progress
from archon.serve.tools import check_tools
from archon.types import Completion, Event, Request, TokenDelta, ToolCallDelta


class ChatCompletions(ModelEndpoint):
    """The ``POST /v1/chat/completions`` endpoint."""

    async def answer(self, exchange: Exchange) -> None:
        """See ``ModelEndpoint.answer``."""
        chat = read_chat_request(await exchange.body(), is_strict=self.served.is_strict)
        lm = exchange.model(chat.model)
        request = chat.request()
        self._check(chat, request, lm)
        if "thinking" not in lm.capabilities:  # reasoning_effort is only a hint
            request = replace(request, thinking=NO_THINKING)
            if chat.reasoning_effort is not None:
                chat.ignored.add("reasoning_effort", "reasoning_effort")
        watcher = _watcher(chat, request, lm)
        exchange.report_ignored(chat, lm)
        if chat.stream:
            await exchange.send_stream(_stream(exchange, lm, chat, request, watcher))
            return
        progress: dict[int, str] = {}

        def on_event(event: Event) -> None:
            if line := watcher.line(event):
                index = _index(event)
                progress[index] = progress.get(index, "") + line

        completions = await exchange.generate(lm, request, on_event if watcher.lines else None)
        await exchange.writer.send_json(ResponseBuilder(chat).complete(completions, progress))

    def _check(self, chat: ChatRequest, request: Request, lm: LM) -> None:
        """Check that the model supports a request, and that the request does not exceed any limit.

        Raises
        ------
        BadRequestError
            The request fails a check. The error names the field at fault.
        """
        check_tools(request, lm, chat.model)
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
        limit = self.served.limits.max_messages
        if len(chat.messages) > limit:
            reason = f"the request has more than {limit} messages (--max-messages)"
            raise BadRequestError(reason, param="messages", code="too_many_messages")
        self.served.check_tokens(chat.model, request.sampling, request.n)


class _Watcher:
    """Lines and events of the nodes, as far as the client asked for them."""

    def __init__(self, chat: ChatRequest, num_runs: int, architecture: Architecture | None) -> None:
        self.lines: list[ProgressLines] = []
        self.events: list[NodeEvents] = []
        if architecture is not None and chat.wants_progress:
            self.lines = [ProgressLines(architecture) for _ in range(num_runs)]
        if architecture is not None and chat.wants_events:
            self.events = [NodeEvents(architecture) for _ in range(num_runs)]

    def line(self, event: Event) -> str:
        """See ``ProgressLines.line``."""
        return self.lines[_index(event)].line(event) if self.lines else ""

    def data(self, batch: Iterable[Event | Completion]) -> dict[int, list[dict[str, Any]]]:
        """Return index of an answer → the data of the batch's events."""
        found: dict[int, list[dict[str, Any]]] = {}
        for item in batch if self.events else ():
            if not isinstance(item, Completion):
                index = _index(item)
                if (data := self.events[index].data(item)) is not None:
                    found.setdefault(index, []).append(data)
        return found


def _watcher(chat: ChatRequest, request: Request, lm: LM) -> _Watcher:
    """Return what the client wants to see; report options without an effect as ignored."""
    architecture = lm.architecture if isinstance(lm, ArchitectureLM) else None
    without_effect = {
        "archon.progress": chat.wants_progress and architecture is None,
        "archon.events": chat.wants_events and (architecture is None or not chat.stream),
    }
    for name, is_ignored in without_effect.items():
        if is_ignored:
            chat.ignored.add(name, name)
    return _Watcher(chat, request.n, architecture)


def _index(event: Event) -> int:
    """Return the index of the answer to which an event belongs."""
    return event.draw if isinstance(event, TokenDelta | ToolCallDelta) else event.run


async def _stream(
    exchange: Exchange, lm: LM, chat: ChatRequest, request: Request, watcher: _Watcher
) -> AsyncGenerator[bytes, None]:
    """Yield the answers as encoded events while they are generated."""
    builder = ResponseBuilder(chat)
    with_text, with_reasoning, with_calls = set[int](), set[int](), set[int]()  # of answers
    is_first = True
    events = exchange.batches(lm, request, node_deltas=bool(watcher.events))
    async with aclosing(events) as batches:
        async for batch in batches:
            pieces: list[bytes] = []
            if is_first:
                is_first = False
                pieces += [event(builder.first(index)) for index in range(request.n)]
            for index, data in watcher.data(batch).items():
                pieces.append(event(builder.node_events(index, data)))
            for index, item in enumerate(batch):
                if not isinstance(item, Completion) and (line := watcher.line(item)):
                    more = builder.delta(_index(item), line, is_reasoning=True)
                    pieces.append(event(more))
                if isinstance(item, TokenDelta) and not item.node:
                    (with_reasoning if item.is_reasoning else with_text).add(item.draw)
                    more = builder.delta(item.draw, item.text, is_reasoning=item.is_reasoning)
                    pieces.append(event(more))
                elif isinstance(item, ToolCallDelta):
                    with_calls.add(item.draw)
                    pieces.append(event(builder.call_delta(item.draw, item)))
                elif isinstance(item, Completion):
                    if item.reasoning and index not in with_reasoning | with_text:
                        more = builder.delta(index, item.reasoning, is_reasoning=True)
                        pieces.append(event(more))
                    if item.text and index not in with_text:
                        with_text.add(index)
                        pieces.append(event(builder.delta(index, item.text)))
                    if index not in with_calls:
                        pieces += map(event, builder.calls(index, item))
                    pieces.append(event(builder.last(index, item)))
                elif (step := progress(item)) is not None:
                    pieces.append(comment(step))
            if with_text or with_reasoning or with_calls:
                exchange.metrics.note_first_token()
            completions = [item for item in batch if isinstance(item, Completion)]
            if completions:
                if chat.wants_usage:
                    pieces.append(event(builder.usage_chunk(completions)))
                pieces.append(LAST_EVENT)
            if pieces:
                yield b"".join(pieces)
