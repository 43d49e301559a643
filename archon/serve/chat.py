"""The ``POST /v1/chat/completions`` endpoint."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from archon.graph.lm import ArchitectureLM
from archon.lm.base import LM, NO_THINKING, supports
from archon.serve.asgi_io import LAST_EVENT, comment, event
from archon.serve.endpoint import Exchange, ModelEndpoint
from archon.serve.fields import SAMPLING, BadRequestError
from archon.serve.requests import ChatRequest, read_chat_request
from archon.serve.responses import ResponseBuilder, progress
from archon.serve.tools import check_tools
from archon.types import Completion, Request, TokenDelta, ToolCallDelta


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
        if isinstance(lm, ArchitectureLM) and not lm.sampled_nodes:
            for name in SAMPLING:
                if getattr(chat, name) is not None:
                    chat.ignored.add(name, name)
        exchange.report(chat.ignored)
        if chat.stream:
            await exchange.send_stream(_stream(exchange, lm, chat, request))
        else:
            completions = await exchange.generate(lm, request)
            await exchange.writer.send_json(ResponseBuilder(chat).complete(completions))

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


async def _stream(
    exchange: Exchange, lm: LM, chat: ChatRequest, request: Request
) -> AsyncGenerator[bytes, None]:
    """Yield the answers as encoded events while they are generated."""
    builder = ResponseBuilder(chat)
    with_text, with_reasoning, with_calls = set[int](), set[int](), set[int]()  # of answers
    is_first = True
    async with aclosing(exchange.batches(lm, request)) as batches:
        async for batch in batches:
            pieces: list[bytes] = []
            if is_first:
                is_first = False
                pieces += [event(builder.first(index)) for index in range(request.n)]
            for index, item in enumerate(batch):
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
