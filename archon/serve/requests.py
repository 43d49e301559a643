"""Parse and strictly validate chat-completion requests.

The pydantic models in this module contain the fields that are applied: fields of OpenAI's protocol,
``archon``, and the sampler parameters of ``archon.types``. ``archon.serve.fields`` contains rules
for all other fields.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from archon.serve import fields
from archon.serve.fields import BadRequestError, Ignored
from archon.serve.request_object import INTEGRAL, RequestObject, read_request
from archon.serve.sampling_fields import MaxTokens, SamplingFields
from archon.serve.tools import (
    EarlierCall,
    ToolChoiceField,
    ToolDefinitions,
    has_functions,
    prepared,
    tool_fields,
    with_legacy_names,
    with_names,
)
from archon.spec.encoding import MARK
from archon.spec.thinking import RESERVED_VARIABLES
from archon.types import (
    Constraint,
    Message,
    Request,
    Thinking,
)

_NEUTRAL: dict[str, tuple[object, ...]] = {
    "max_completion_tokens": (-1,),
    "reasoning_effort": ("default",),
}
"""Values that make a field count as absent."""


def _text_type(value: Any) -> Any:
    if isinstance(value, str) and value != "text":
        reason = "only parts of type 'text' are supported, not images, audio or files"
        raise PydanticCustomError("unsupported", "{reason}", {"reason": reason})
    return value


class TextPart(RequestObject):
    """A part of a message's content, which must be text."""

    rules = fields.PART
    place = "messages[].content[]."

    type: Annotated[Literal["text"], BeforeValidator(_text_type)]
    text: str


class ChatMessage(RequestObject):
    """A message of the conversation."""

    rules = fields.MESSAGE
    place = "messages[]."

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[TextPart], Field(min_length=1, fail_fast=True)] = Field(
        description="Text of the message, as a string or a list of text parts. It may be null if "
        "the role is `assistant`."
    )
    tool_calls: list[EarlierCall] = Field(default_factory=list)
    tool_call_id: str = Field("", description="The call whose result a `tool` message contains.")

    @model_validator(mode="before")
    @classmethod
    def _text_of_assistant(cls, data: Any) -> Any:
        """Replace null content in an assistant message with an empty text."""
        is_assistant = isinstance(data, dict) and data.get("role") == "assistant"
        return {**data, "content": ""} if is_assistant and data.get("content") is None else data

    def message(self) -> Message:
        """Convert to ``archon.types.Message``."""
        text = self.content
        if isinstance(text, list):
            text = "".join(part.text for part in text)
        return Message(
            "system" if self.role == "developer" else self.role,
            # A client may have read the message from a file that starts with a byte-order mark.
            text.lstrip(MARK),
            tuple(call.call() for call in self.tool_calls) if self.role == "assistant" else (),
            self.tool_call_id if self.role == "tool" else "",
        )


class StreamOptions(RequestObject):
    """Options of a streamed response."""

    rules = fields.STREAM_OPTIONS
    place = "stream_options."

    include_usage: bool = False


class TextFormat(RequestObject):
    """Response format: text without a constraint."""

    place = "response_format."

    type: Literal["text"]


class JsonObjectFormat(RequestObject):
    """Response format: any JSON object."""

    place = "response_format."

    type: Literal["json_object"]


class NamedSchema(RequestObject):
    """A JSON Schema. Answers always match it, even if ``strict`` is not set."""

    place = "response_format.json_schema."

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class JsonSchemaFormat(RequestObject):
    """Response format: JSON that matches a schema."""

    place = "response_format."

    type: Literal["json_schema"]
    json_schema: NamedSchema


ResponseFormat = Annotated[
    TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")
]


class ArchonOptions(RequestObject):
    """Archon's extensions of OpenAI's protocol."""

    place = "archon."

    trace: bool = Field(
        False, description="Return the trace, with the prompts and completions of every node."
    )
    progress: bool = Field(
        False, description="Describe what the nodes do in `reasoning_content`, before the answer."
    )
    events: bool = Field(
        False,
        description="Stream the nodes' work as data: starts, texts, and results with candidates.",
    )


class ChatRequest(SamplingFields):
    """The body of ``POST /v1/chat/completions``. A field that is ``null`` counts as absent."""

    rules = fields.REQUEST

    messages: list[ChatMessage] = Field(min_length=1, fail_fast=True)
    max_completion_tokens: MaxTokens | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20), INTEGRAL] | None = Field(
        None, description="Number of likeliest tokens to return at each position, with `logprobs`."
    )
    response_format: ResponseFormat | None = None
    tools: ToolDefinitions | None = None
    tool_choice: ToolChoiceField | None = None
    parallel_tool_calls: bool | None = Field(
        None, description="False to omit all calls of an answer but the first."
    )
    chat_template_kwargs: dict[str, Any] | None = None
    reasoning_effort: (
        Literal["none", "minimal", "low", "medium", "high", "xhigh", "default"] | None
    ) = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    archon: ArchonOptions | None = None

    @field_validator(*_NEUTRAL)
    @classmethod
    def _drop_neutral(cls, value: object, info: ValidationInfo) -> object:
        return None if value in _NEUTRAL[info.field_name or ""] else value

    _is_legacy: bool = PrivateAttr(default=False)

    @property
    def is_legacy(self) -> bool:
        """True if the request has ``functions``, so that a call is a ``function_call``."""
        return self._is_legacy

    @property
    def wants_trace(self) -> bool:
        """True if the response must contain the trace."""
        return self.archon is not None and self.archon.trace

    @property
    def wants_progress(self) -> bool:
        """True if ``reasoning_content`` must describe what the nodes do."""
        return self.archon is not None and self.archon.progress

    @property
    def wants_events(self) -> bool:
        """True if the stream must contain the events of the nodes."""
        return self.archon is not None and self.archon.events

    @property
    def wants_usage(self) -> bool:
        """True if a streamed response must end with the usage. Other responses always have it."""
        return self.stream_options is not None and self.stream_options.include_usage

    def request(self) -> Request:
        """Convert to a language-model request, with a random seed if ``seed`` is absent."""
        sampling = replace(
            self.sampling(),
            max_tokens=self.max_tokens or self.max_completion_tokens,
            top_logprobs=self.top_logprobs,
        )
        return Request(
            messages=with_names([message.message() for message in self.messages]),
            n=self.n or 1,
            seed=self.run_seed,
            sampling=sampling,
            constraint=self._constraint(),
            logprobs=bool(self.logprobs),
            thinking=self._thinking(),
            parallel_tool_calls=self.parallel_tool_calls is not False,
            **tool_fields(self.tools or (), self.tool_choice),
        )

    def _thinking(self) -> Thinking:
        """Return the thinking parameters.

        ``enable_thinking`` in ``chat_template_kwargs`` turns thinking on or off. If it is absent,
        the ``reasoning_effort`` values ``none`` and ``minimal`` turn thinking off, and all other
        values turn it on.
        """
        variables = dict(self.chat_template_kwargs or {})
        is_wanted = None
        if isinstance(variables.get("enable_thinking"), bool):
            is_wanted = variables.pop("enable_thinking")
        elif self.reasoning_effort is not None:
            is_wanted = self.reasoning_effort not in ("none", "minimal")
        return Thinking(is_wanted, variables or None)

    def _constraint(self) -> Constraint | None:
        match self.response_format:
            case JsonObjectFormat():
                return Constraint(json_schema={"type": "object"})
            case JsonSchemaFormat(json_schema=named):
                return Constraint(json_schema=named.schema_)
            case _:
                return None


def read_chat_request(content: bytes, *, is_strict: bool = False) -> ChatRequest:
    """Parse the body of a chat-completion request; see ``read_request``."""
    is_legacy = False

    def prepare(body: Any, ignored: Ignored) -> Any:
        nonlocal is_legacy
        is_legacy = has_functions(body)
        return prepared(body, ignored)

    try:
        chat = read_request(ChatRequest, content, is_strict=is_strict, prepare=prepare)
    except BadRequestError as error:
        raise (with_legacy_names(error) if is_legacy else error) from None
    chat._is_legacy = is_legacy
    tool_fields(chat.tools or (), chat.tool_choice)
    bounds = {chat.max_tokens, chat.max_completion_tokens} - {None}
    if len(bounds) > 1:
        reason = "max_tokens and max_completion_tokens differ; send only one of them"
        raise BadRequestError(reason, param="max_tokens", code="unsupported")
    if chat.top_logprobs and not chat.logprobs:
        reason = "top_logprobs needs logprobs to be true"
        raise BadRequestError(reason, param="top_logprobs", code="unsupported")
    if reserved := sorted({*(chat.chat_template_kwargs or ())} & {*RESERVED_VARIABLES}):
        reason = f"these variables are reserved for the server: {', '.join(reserved)}; remove them"
        raise BadRequestError(reason, param="chat_template_kwargs", code="unsupported")
    return chat
