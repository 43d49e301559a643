"""The ``POST /v1/responses`` endpoint."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from archon.graph.lm import ArchitectureLM
from archon.lm.base import LM, NO_THINKING, supports
from archon.serve.asgi_io import comment, named_event
from archon.serve.endpoint import Exchange, ModelEndpoint, ServedModels
from archon.serve.fields import BadRequestError
from archon.serve.responses import progress
from archon.serve.responses_api.builder import ResponseBuilder, new_id
from archon.serve.responses_api.items import EarlierReasoning, ItemReference
from archon.serve.responses_api.objects import (
    OutputFunctionCall,
    OutputMessage,
    OutputReasoning,
    ResponseBody,
)
from archon.serve.responses_api.request import ResponsesRequest, read_responses_request
from archon.serve.responses_api.store import ResponseStore, StoredResponse
from archon.serve.responses_api.tools import check_functions
from archon.types import Completion, Message, Request, TokenDelta, ToolCall, ToolCallDelta


@dataclass(frozen=True, slots=True)
class _Conversation:
    """The messages before an answer, without instructions."""

    earlier: tuple[Message, ...]
    """Messages up to the answer of the previous response."""
    new: tuple[Message, ...]
    """Messages of the request's input."""


class Responses(ModelEndpoint):
    """The ``POST /v1/responses`` endpoint."""

    fields: ClassVar = {
        "messages": "input",
        "constraint": "text.format",
        "thinking": "reasoning",
        "logprobs": "include",
        "max_tokens": "max_output_tokens",
    }

    def __init__(self, served: ServedModels, store: ResponseStore) -> None:
        super().__init__(served)
        self._store = store

    async def answer(self, exchange: Exchange) -> None:
        """See ``ModelEndpoint.answer``."""
        asked = read_responses_request(await exchange.body(), is_strict=self.served.is_strict)
        lm = exchange.model(asked.model)
        conversation = self._conversation(asked)
        instructions = [Message("system", asked.instructions)] if asked.instructions else []
        request = asked.request((*instructions, *conversation.earlier, *conversation.new))
        self._check(asked, request, lm)
        request = _without_hints(asked, request, lm)
        exchange.report_ignored(asked, lm)
        builder = ResponseBuilder(asked)
        if asked.stream:
            exchange.encode_failure = lambda error: named_event(builder.fail(error))
            stream = self._stream(exchange, lm, request, builder, conversation, asked)
            await exchange.send_stream(stream)
        else:
            [completion] = await exchange.generate(lm, request)
            body, _ = builder.finish(completion)
            self._keep(asked, body, completion, conversation)
            await exchange.writer.send_json(body)

    def _conversation(self, asked: ResponsesRequest) -> _Conversation:
        """Return the messages of the previous response and of the input.

        Raises
        ------
        BadRequestError
            The previous response or an item is not stored, or the input has no message.
        """
        earlier: tuple[Message, ...] = ()
        if (previous := asked.previous_response_id) is not None:
            stored = self._store.find(previous, param="previous_response_id", status=400)
            earlier = stored.conversation
        if isinstance(asked.input, str):
            return _Conversation(earlier, (Message("user", asked.input),))
        new: list[Message] = []
        for at, item in enumerate(asked.input):
            if isinstance(item, ItemReference):
                message = self._store.find_item(item.id, param=f"input.{at}.id")
            else:
                message = None if isinstance(item, EarlierReasoning) else item.message()
            if message is not None:
                _append(new, message)
        if not new:
            raise BadRequestError("input: there is no message", param="input", code="invalid_value")
        return _Conversation(earlier, tuple(new))

    def _check(self, asked: ResponsesRequest, request: Request, lm: LM) -> None:
        """Check that the model supports a request, and that the request does not exceed any limit.

        Raises
        ------
        BadRequestError
            The request fails a check. The error names the field at fault.
        """
        check_functions(request, lm, asked.model)
        constraint = request.constraint
        unsupported = {
            "include": request.logprobs and "logprobs" not in lm.capabilities,
            "text.format": constraint is not None and not supports(lm.capabilities, constraint),
        }
        for param, is_unsupported in unsupported.items():
            if is_unsupported:
                what = "log-probabilities" if param == "include" else "a JSON format"
                reason = f"{param}: {asked.model} does not support {what}"
                if isinstance(lm, ArchitectureLM) and not lm.generates:
                    reason += ": its output node selects a text instead of generating one"
                raise BadRequestError(reason, param=param, code="unsupported")
        is_architecture = isinstance(lm, ArchitectureLM)
        if asked.wants_trace and not is_architecture:
            reason = f"archon.trace: {asked.model} is a model, and only architectures have traces"
            raise BadRequestError(f"{reason}; omit trace", param="archon.trace", code="unsupported")
        if is_architecture and request.messages[-1].role != "user":
            reason = "input: the last message must have the role 'user', because it is the question"
            raise BadRequestError(reason, param="input", code="unsupported")
        limit = self.served.limits.max_messages
        if len(request.messages) > limit:
            reason = f"input: the conversation has more than {limit} messages (--max-messages)"
            raise BadRequestError(reason, param="input", code="too_many_messages")
        fields = ("max_output_tokens",)
        self.served.check_tokens(asked.model, request.sampling, 1, fields=fields)

    def _keep(
        self,
        asked: ResponsesRequest,
        body: ResponseBody,
        completion: Completion,
        conversation: _Conversation,
    ) -> None:
        """Store a finished response, unless the request forbids it."""
        if asked.store is False:
            return
        answer = Message("assistant", completion.text, completion.tool_calls)
        items = {item.id: _message_of(item) for item in body.output}
        listed = [part for message in conversation.new for part in _parts(message)]
        items |= {item["id"]: part for item, part in listed}
        messages = (*conversation.earlier, *conversation.new, answer)
        input_items = [item for item, _ in listed]
        self._store.add(StoredResponse(body.to_json(), input_items, messages, items))

    async def _stream(
        self,
        exchange: Exchange,
        lm: LM,
        request: Request,
        builder: ResponseBuilder,
        conversation: _Conversation,
        asked: ResponsesRequest,
    ) -> AsyncGenerator[bytes, None]:
        """Yield the answer as encoded events while it is generated."""
        async with aclosing(exchange.batches(lm, request)) as batches:
            async for batch in batches:
                pieces: list[bytes] = []
                events = [] if builder.is_started else builder.start()
                for item in batch:
                    if isinstance(item, TokenDelta) and not item.node and item.text:
                        events += builder.add(item.text, is_reasoning=item.is_reasoning)
                        exchange.metrics.note_first_token()
                    elif isinstance(item, ToolCallDelta):
                        events += builder.add_call(item)
                        exchange.metrics.note_first_token()
                    elif isinstance(item, Completion):
                        body, last = builder.finish(item)
                        exchange.metrics.note_first_token()
                        self._keep(asked, body, item, conversation)
                        events += last
                    elif (step := progress(item)) is not None:
                        pieces.append(comment(step))
                pieces += map(named_event, events)
                if pieces:
                    yield b"".join(pieces)


def _without_hints(asked: ResponsesRequest, request: Request, lm: LM) -> Request:
    """Return the request without parameters that the model cannot apply; report them as ignored."""
    if "thinking" not in lm.capabilities:
        request = replace(request, thinking=NO_THINKING)
        if asked.effort is not None:
            asked.ignored.add("reasoning.effort", "reasoning")
    return request


def _message_of(
    item: OutputReasoning | OutputMessage | OutputFunctionCall,
) -> Message | None:
    """Return the message that an output item stands for in later input; None for reasoning."""
    match item:
        case OutputMessage():
            return Message("assistant", "".join(part.text for part in item.content))
        case OutputFunctionCall():
            return Message("assistant", "", (ToolCall(item.name, item.arguments, item.call_id),))
        case _:
            return None


def _append(messages: list[Message], message: Message) -> None:
    """Append a message. A call belongs to the assistant's message before it, if there is one."""
    is_call = bool(message.tool_calls) and not message.content
    if is_call and messages and messages[-1].role == "assistant":
        calls = (*messages[-1].tool_calls, *message.tool_calls)
        messages[-1] = replace(messages[-1], tool_calls=calls)
    else:
        messages.append(message)


def _parts(message: Message) -> list[tuple[dict[str, Any], Message]]:
    """Return a message as items with new ids, each with the message that it stands for."""
    if message.role == "tool":
        values: dict[str, Any] = {"call_id": message.tool_call_id, "output": message.content}
        return [(_item("fc", "function_call_output", values), message)]
    parts: list[tuple[dict[str, Any], Message]] = []
    if message.content or not message.tool_calls:
        text: dict[str, Any] = {"type": "input_text", "text": message.content}
        if message.role == "assistant":
            text = {"type": "output_text", "text": message.content, "annotations": []}
        values = {"role": message.role, "content": [text]}
        parts.append((_item("msg", "message", values), Message(message.role, message.content)))
    for call in message.tool_calls:
        values = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
        one = Message("assistant", "", (call,))
        parts.append((_item("fc", "function_call", values), one))
    return parts


def _item(prefix: str, kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": new_id(prefix), "type": kind, "status": "completed", **values}
