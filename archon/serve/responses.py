"""Types of response bodies, from which the OpenAPI document is generated.

Names follow OpenAI's protocol. A field that is not set is omitted from the JSON.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from archon import types
from archon.graph.lm import ArchitectureLM
from archon.graph.trace import Trace
from archon.lm.base import LM
from archon.serve.requests import ChatRequest
from archon.types import (
    Completion,
    Event,
    NodeFinished,
    NodeStarted,
    ToolCallDelta,
    total_usage,
)


class ResponseObject(BaseModel):
    """Base class of JSON objects in responses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def to_json(self) -> dict[str, Any]:
        """Return the fields that are set, as JSON data."""
        return self.model_dump(exclude_unset=True)


class ErrorDetail(ResponseObject):
    """Description of an error. ``param`` is the field at fault, if known."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(ResponseObject):
    """Body of an error response."""

    error: ErrorDetail


class Health(ResponseObject):
    """Health of the server."""

    status: Literal["ok"]


class Model(ResponseObject):
    """A model that a request can name."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(ResponseObject):
    """The served models."""

    object: Literal["list"]
    data: list[Model]


class ArchitectureGraph(ResponseObject):
    """The nodes of a served architecture."""

    id: str
    object: Literal["architecture"]
    output: str
    nodes: dict[str, dict[str, Any]] = Field(
        description="Type, inputs and parameters of each node, without prompts."
    )
    sampled_nodes: list[str] = Field(
        description="Nodes to which the sampling parameters of a request apply."
    )


class ArchitectureList(ResponseObject):
    """The served architectures."""

    object: Literal["list"]
    data: list[ArchitectureGraph]


class PromptTokensDetails(ResponseObject):
    """Details of the prompt tokens."""

    cached_tokens: int


class Usage(ResponseObject):
    """Token counts, summed over all nodes. A prompt with several samples is counted once."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class TopLogprob(ResponseObject):
    """A likely token and its log-probability."""

    token: str = Field(
        description="Text of the token, or `token_id:` and its id if it has no text."
    )
    logprob: float
    bytes: list[int] | None


class TokenLogprob(ResponseObject):
    """A sampled token and its log-probability."""

    token: str = Field(
        description="Text of the token, or `token_id:` and its id if its bytes are unknown."
    )
    logprob: float
    bytes: list[int] | None
    top_logprobs: list[TopLogprob] = Field(
        description="Likeliest tokens at this position, if the request asks for them."
    )


class ChoiceLogprobs(ResponseObject):
    """Sampled tokens of one answer, with their log-probabilities."""

    content: list[TokenLogprob]
    refusal: None


class CalledFunction(ResponseObject):
    """Name and arguments of a call. In a streamed response, a part of them."""

    name: str = ""
    arguments: str = Field(default="", description="Arguments as the text of a JSON object.")


class ToolCall(ResponseObject):
    """A call of one of the request's tools."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class ToolCallPart(ResponseObject):
    """A part of a tool call in a streamed response. The first part has the id and the name."""

    index: int
    id: str = ""
    type: Literal["function"] = "function"
    function: CalledFunction


class AssistantMessage(ResponseObject):
    """An answer, with the reasoning that precedes it, if any, and with tool calls, if any."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    reasoning_content: str = ""
    tool_calls: list[ToolCall] = []
    function_call: CalledFunction = Field(
        default=CalledFunction(), description="The call, if the request has `functions`."
    )


FinishReason = types.FinishReason | Literal["function_call"]


class AnswerDetails(ResponseObject):
    """Value and trace of an architecture's answer. This object extends OpenAI's protocol."""

    value: str | None
    trace: dict[str, Any]


class NodeEvents(ResponseObject):
    """Events of an architecture's nodes. This object extends OpenAI's protocol."""

    events: list[dict[str, Any]]


class Choice(ResponseObject):
    """One of ``n`` answers."""

    index: int
    message: AssistantMessage
    finish_reason: FinishReason
    logprobs: ChoiceLogprobs | None
    archon: AnswerDetails | None = Field(
        default=None, description="Present if `archon.trace` is true."
    )


class ChatCompletion(ResponseObject):
    """Response without streaming."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class Delta(ResponseObject):
    """New text of an answer in a streamed response."""

    role: Literal["assistant"] = "assistant"
    content: str = ""
    reasoning_content: str = ""
    tool_calls: list[ToolCallPart] = []
    function_call: CalledFunction = CalledFunction()


class ChunkChoice(ResponseObject):
    """Part of one of ``n`` answers. The last part has ``finish_reason`` and log-probabilities."""

    index: int
    delta: Delta
    finish_reason: FinishReason | None
    logprobs: ChoiceLogprobs | None
    archon: AnswerDetails | NodeEvents | None = Field(
        default=None,
        description="Trace in the last part if `archon.trace` is true, and events in other parts "
        "if `archon.events` is true.",
    )


class ChatCompletionChunk(ResponseObject):
    """Data of an event in a streamed response."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = Field(
        None,
        description="Present if `stream_options.include_usage` is true. It is null in all chunks "
        "except the last.",
    )


@dataclass(frozen=True, slots=True)
class ResponseBuilder:
    """Builds the response to one request, or the chunks of its streamed response."""

    chat: ChatRequest
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def complete(
        self, completions: Sequence[Completion], progress: Mapping[int, str] | None = None
    ) -> ChatCompletion:
        """Build a response without streaming; ``progress`` precedes the answers' reasoning."""
        before = progress or {}
        choices = [
            Choice(
                index=index,
                message=_message(completion, before.get(index, ""), is_legacy=self._is_legacy),
                finish_reason=self._finish_reason(completion),
                logprobs=choice_logprobs(completion),
                **self._details(completion),
            )
            for index, completion in enumerate(completions)
        ]
        return ChatCompletion(
            id=self.id,
            object="chat.completion",
            created=self.created,
            model=self.chat.model,
            choices=choices,
            usage=usage(completions),
        )

    def first(self, index: int) -> ChatCompletionChunk:
        """Build the first chunk of choice ``index``, which has no text."""
        return self._part(index, Delta(role="assistant", content=""))

    def delta(self, index: int, text: str, *, is_reasoning: bool = False) -> ChatCompletionChunk:
        """Build a chunk with new text for choice ``index``, or with new reasoning before it."""
        delta = Delta(reasoning_content=text) if is_reasoning else Delta(content=text)
        return self._part(index, delta)

    def node_events(self, index: int, events: list[dict[str, Any]]) -> ChatCompletionChunk:
        """Build a chunk with events of the nodes of choice ``index``."""
        choice = ChunkChoice(
            index=index,
            delta=Delta(),
            finish_reason=None,
            logprobs=None,
            archon=NodeEvents(events=events),
        )
        return self._chunk([choice])

    def call_delta(self, index: int, part: ToolCallDelta) -> ChatCompletionChunk:
        """Build a chunk with a part of a tool call of choice ``index``."""
        if part.id or part.name:
            function = CalledFunction(name=part.name, arguments=part.arguments)
        else:
            function = CalledFunction(arguments=part.arguments)
        if self._is_legacy:
            return self._part(index, Delta(function_call=function))
        names: dict[str, Any] = {"id": part.id, "type": "function"} if part.id else {}
        return self._part(
            index, Delta(tool_calls=[ToolCallPart(index=part.index, function=function, **names)])
        )

    def calls(self, index: int, completion: Completion) -> list[ChatCompletionChunk]:
        """Build the chunks of all tool calls of choice ``index``."""
        return [
            self.call_delta(
                index, ToolCallDelta(index, at, call.arguments, id=call.id, name=call.name)
            )
            for at, call in enumerate(completion.tool_calls)
        ]

    @property
    def _is_legacy(self) -> bool:
        return self.chat.is_legacy

    def _finish_reason(self, completion: Completion) -> FinishReason:
        is_call = completion.finish_reason == "tool_calls"
        return "function_call" if is_call and self._is_legacy else completion.finish_reason

    def last(self, index: int, completion: Completion) -> ChatCompletionChunk:
        """Build the final chunk of choice ``index``, with its finish reason."""
        choice = ChunkChoice(
            index=index,
            delta=Delta(),
            finish_reason=self._finish_reason(completion),
            logprobs=choice_logprobs(completion),
            **self._details(completion),
        )
        return self._chunk([choice])

    def usage_chunk(self, completions: Sequence[Completion]) -> ChatCompletionChunk:
        """Build the usage chunk, which is sent after all answers."""
        return self._chunk([], usage(completions))

    def _part(self, index: int, delta: Delta) -> ChatCompletionChunk:
        choice = ChunkChoice(index=index, delta=delta, finish_reason=None, logprobs=None)
        return self._chunk([choice])

    def _chunk(self, choices: list[ChunkChoice], used: Usage | None = None) -> ChatCompletionChunk:
        return ChatCompletionChunk(
            id=self.id,
            object="chat.completion.chunk",
            created=self.created,
            model=self.chat.model,
            choices=choices,
            **({"usage": used} if self.chat.wants_usage else {}),
        )

    def _details(self, completion: Completion) -> dict[str, AnswerDetails]:
        details = answer_details(completion) if self.chat.wants_trace else None
        return {} if details is None else {"archon": details}


def answer_details(completion: Completion) -> AnswerDetails | None:
    """Return the value and the trace of an architecture's answer; None for a model's answer."""
    trace = completion.trace
    if not isinstance(trace, Trace):
        return None
    outputs = trace.nodes[trace.output].outputs
    value = outputs[0].value if outputs else None
    return AnswerDetails(value=value, trace=trace.to_json())


def progress(event: Event) -> dict[str, Any] | None:
    """Return the progress comment for an event, or None if the event is not reported."""
    match event:
        case NodeStarted(node=node):
            return {"node": node, "event": "started"}
        case NodeFinished(node=node, candidates=candidates):
            seconds = round(event.seconds, 3)
            return {"node": node, "event": "finished", "candidates": candidates, "seconds": seconds}
        case _:
            return None


def usage(completions: Sequence[Completion]) -> Usage:
    """Return the token counts, summed over all nodes, as OpenAI's ``usage`` object."""
    total = total_usage(completions)
    prompts = {digest: n for c in completions for digest, n in c.prompts.items()}
    prompt_tokens = sum(prompts.values())
    computed_tokens = total.prompt_tokens - total.cached_tokens
    details = PromptTokensDetails(cached_tokens=max(0, prompt_tokens - computed_tokens))
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=total.completion_tokens,
        total_tokens=prompt_tokens + total.completion_tokens,
        prompt_tokens_details=details,
    )


def architecture_list(lms: Mapping[str, LM]) -> ArchitectureList:
    """Return the graphs of the served architectures."""
    return ArchitectureList(
        object="list",
        data=[
            ArchitectureGraph(
                id=name,
                object="architecture",
                output=lm.architecture.spec.output,
                nodes={
                    node: spec.model_dump(mode="json", exclude_none=True, exclude={"prompt"})
                    for node, spec in lm.architecture.spec.nodes.items()
                },
                sampled_nodes=sorted(lm.sampled_nodes),
            )
            for name, lm in lms.items()
            if isinstance(lm, ArchitectureLM)
        ],
    )


def model_object(name: str) -> Model:
    """Return OpenAI's ``model`` object for a served model."""
    return Model(id=name, object="model", created=0, owned_by="archon")


def _message(completion: Completion, progress: str, *, is_legacy: bool = False) -> AssistantMessage:
    optional: dict[str, Any] = {}
    if text := progress + completion.reasoning:
        optional["reasoning_content"] = text
    functions = [CalledFunction(name=c.name, arguments=c.arguments) for c in completion.tool_calls]
    if functions and is_legacy:
        optional["function_call"] = functions[0]
    elif functions:
        optional["tool_calls"] = [
            ToolCall(id=call.id, type="function", function=function)
            for call, function in zip(completion.tool_calls, functions, strict=True)
        ]
    content = None if functions and not completion.text else completion.text
    return AssistantMessage(role="assistant", content=content, refusal=None, **optional)


def choice_logprobs(completion: Completion) -> ChoiceLogprobs | None:
    """Return the tokens' log-probabilities, without control tokens such as the end of text.

    Return None if the completion has no log-probabilities.
    """
    if completion.logprobs is None:
        return None
    content: list[TokenLogprob] = []
    for i, logprob in enumerate(completion.logprobs):
        if completion.tokens is not None:
            token = completion.tokens[i]
            if not token:
                continue
            name, numbers = token.decode("utf-8", "replace"), list(token)
        else:
            ids = completion.token_ids
            name, numbers = "" if ids is None else f"token_id:{ids[i]}", None
        top = () if completion.top_logprobs is None else completion.top_logprobs[i]
        content.append(
            TokenLogprob(
                token=name, logprob=logprob, bytes=numbers, top_logprobs=list(map(_likely, top))
            )
        )
    return ChoiceLogprobs(content=content, refusal=None)


def _likely(one: types.TokenLogprob) -> TopLogprob:
    if one.token:
        name, numbers = one.token.decode("utf-8", "replace"), list(one.token)
    else:
        name, numbers = "" if one.token_id is None else f"token_id:{one.token_id}", None
    return TopLogprob(token=name, logprob=one.logprob, bytes=numbers)
