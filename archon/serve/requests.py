"""Parse and strictly validate chat-completion requests.

The pydantic models in this module contain the fields that are applied: fields of OpenAI's protocol,
``archon``, and the sampler parameters of ``archon.types``. ``archon.serve.fields`` contains rules
for all other fields.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from archon.errors import SpecError
from archon.serve import fields
from archon.serve.fields import BadRequestError, FieldError, Ignored
from archon.spec.common import TokenId
from archon.spec.encoding import MARK
from archon.spec.strict_json import decode_json
from archon.spec.thinking import RESERVED_VARIABLES
from archon.types import (
    EXTRA_SAMPLERS,
    Constraint,
    Message,
    Request,
    SamplingParameter,
    SamplingParams,
    Thinking,
)

MAX_SAMPLES = 128
_MAX_INT64 = 2**63 - 1
_MIN_TOP_P = 1e-9
"""Value that replaces a ``top_p`` of 0. Both keep only the most probable token."""

_MAX_STOP_CHARACTERS = 1000
"""Maximum length of a stop string. Each new token is compared with all of its prefixes."""
StopString = Annotated[str, Field(min_length=1, max_length=_MAX_STOP_CHARACTERS)]
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "max_tokens": (-1,),
    "max_completion_tokens": (-1,),
    "stop": ("", []),
    "reasoning_effort": ("default",),
}
"""Values that make a field count as absent."""


class RequestObject(BaseModel):
    """Base class of JSON objects in requests. ``rules`` apply to fields that the class lacks."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)

    rules: ClassVar[fields.Rules] = {}
    place: ClassVar[str] = ""
    """Prefix of the field names in the header that lists ignored fields, such as ``messages[].``.
    """

    @model_validator(mode="before")
    @classmethod
    def _only_known_fields(cls, data: Any, info: ValidationInfo) -> Any:
        """Remove fields that are ``null`` or ignored; raise an error for unsupported fields."""
        if not isinstance(data, dict):
            return data
        ignored = info.context if isinstance(info.context, Ignored) else Ignored()
        known = {field.alias or name for name, field in cls.model_fields.items()}
        kept = {}
        for key, value in data.items():
            if value is None:
                continue
            if key in known:
                kept[key] = value
                continue
            try:
                ignored.check(key, value, cls.place, cls.rules, known)
            except FieldError as error:
                context = {"reason": error.reason, "key": key}
                raise PydanticCustomError(error.kind, "{reason}", context) from None
        return kept


def _integral(value: Any) -> Any:
    """Convert an integral float such as 5.0 to an integer; JSON does not distinguish them."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_INTEGRAL = BeforeValidator(_integral)


def _text_type(value: Any) -> Any:
    if isinstance(value, str) and value != "text":
        reason = "only parts of type 'text' are supported, not images, audio or files"
        raise PydanticCustomError("unsupported", "{reason}", {"reason": reason})
    return value


def _role(value: Any) -> Any:
    if value in ("tool", "function"):
        reason = "tools are not supported; put the result in a user message"
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

    role: Annotated[Literal["system", "developer", "user", "assistant"], BeforeValidator(_role)]
    content: str | Annotated[list[TextPart], Field(min_length=1, fail_fast=True)] = Field(
        description="Text of the message, as a string or a list of text parts. It may be null if "
        "the role is `assistant`."
    )

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
        # A client may have read the message from a file that starts with a byte-order mark.
        return Message("system" if self.role == "developer" else self.role, text.lstrip(MARK))


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


MaxTokens = Annotated[int, Field(ge=1, le=1_000_000), _INTEGRAL] | Annotated[Literal[-1], _INTEGRAL]
"""Type of ``max_tokens``. A value of -1 makes the field count as absent."""

ResponseFormat = Annotated[
    TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")
]


class ArchonOptions(RequestObject):
    """Archon's extensions of OpenAI's protocol."""

    place = "archon."

    trace: bool = Field(
        False, description="Return the trace, with the prompts and completions of every node."
    )


class _PromptFields(RequestObject):
    """Fields of ``ChatRequest`` that precede the extra samplers in the OpenAPI document."""

    rules = fields.REQUEST

    model: str
    messages: list[ChatMessage] = Field(min_length=1, fail_fast=True)
    n: Annotated[int, Field(ge=1, le=MAX_SAMPLES), _INTEGRAL] | None = None
    seed: Annotated[int, Field(ge=-_MAX_INT64, le=_MAX_INT64), _INTEGRAL] | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: (
        Annotated[dict[TokenId, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=1024)]
        | None
    ) = Field(None, description="Token id → number that is added to the token's logit.")


def _sampler_field(parameter: SamplingParameter) -> tuple[Any, Any]:
    """Return a sampler parameter's type and field.

    An integer may be -1 instead of 0, as vLLM's ``top_k``.
    """
    if isinstance(parameter.default, int):
        kind = Annotated[int, Field(ge=-1, le=parameter.le), _INTEGRAL]
        return kind | None, Field(None, description="0 and -1 keep all tokens.")
    bounds = {name: getattr(parameter, name) for name in ("ge", "gt", "le")}
    return float | None, Field(None, **bounds)


if TYPE_CHECKING:

    class _SamplerFields(_PromptFields): ...

else:
    _SamplerFields = create_model(
        "_SamplerFields",
        __base__=_PromptFields,
        __module__=__name__,
        **{name: _sampler_field(parameter) for name, parameter in EXTRA_SAMPLERS.items()},
    )


class ChatRequest(_SamplerFields):
    """The body of ``POST /v1/chat/completions``. A field that is ``null`` counts as absent."""

    max_tokens: MaxTokens | None = None
    max_completion_tokens: MaxTokens | None = None
    stop: (
        StopString
        | Literal[""]
        | Annotated[list[StopString], Field(max_length=4, fail_fast=True)]
        | None
    ) = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20), _INTEGRAL] | None = Field(
        None, description="Number of likeliest tokens to return at each position, with `logprobs`."
    )
    response_format: ResponseFormat | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    reasoning_effort: (
        Literal["none", "minimal", "low", "medium", "high", "xhigh", "default"] | None
    ) = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    archon: ArchonOptions | None = None

    _ignored: Ignored = PrivateAttr(default_factory=Ignored)

    @field_validator(*_NEUTRAL)
    @classmethod
    def _drop_neutral(cls, value: object, info: ValidationInfo) -> object:
        return None if value in _NEUTRAL[info.field_name or ""] else value

    @property
    def ignored(self) -> Ignored:
        """The body's ignored fields, which are reported to the client."""
        return self._ignored

    @property
    def wants_trace(self) -> bool:
        """True if the response must contain the trace."""
        return self.archon is not None and self.archon.trace

    @property
    def wants_usage(self) -> bool:
        """True if a streamed response must end with the usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    def request(self) -> Request:
        """Convert to a language-model request, with a random seed if ``seed`` is absent."""
        stop = (self.stop,) if isinstance(self.stop, str) else self.stop
        bias = None
        if self.logit_bias is not None:
            bias = tuple((int(token), value) for token, value in self.logit_bias.items())
        return Request(
            messages=tuple(message.message() for message in self.messages),
            n=self.n or 1,
            seed=secrets.randbits(53) if self.seed is None else self.seed,
            sampling=SamplingParams(
                temperature=self.temperature,
                top_p=None if self.top_p is None else max(self.top_p, _MIN_TOP_P),
                max_tokens=self.max_tokens or self.max_completion_tokens,
                stop=None if stop is None else tuple(stop),
                presence_penalty=self.presence_penalty,
                frequency_penalty=self.frequency_penalty,
                logit_bias=bias,
                top_logprobs=self.top_logprobs,
                **self._extra_samplers(),
            ),
            constraint=self._constraint(),
            logprobs=bool(self.logprobs),
            thinking=self._thinking(),
        )

    def _extra_samplers(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in EXTRA_SAMPLERS}
        return {n: max(v, 0) if isinstance(v, int) else v for n, v in values.items()}

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
    """Parse the body of a chat-completion request.

    Parameters
    ----------
    is_strict
        Whether to reject fields that would be ignored.

    Raises
    ------
    BadRequestError
        The body is not valid JSON, or the request is invalid or not supported.
    """
    try:
        body = decode_json(content, max_bytes=len(content))
    except SpecError as error:
        raise BadRequestError(f"cannot read the body: {error}") from None
    ignored = Ignored(is_strict)
    try:
        chat = ChatRequest.model_validate(_without_unused_tools(body, ignored), context=ignored)
    except ValidationError as error:
        raise _bad_value(error, body) from None
    chat._ignored = ignored
    bounds = {chat.max_tokens, chat.max_completion_tokens} - {None}
    if len(bounds) > 1:
        reason = "max_tokens and max_completion_tokens differ; send only one of them"
        raise BadRequestError(reason, param="max_tokens", code="unsupported")
    if chat.top_logprobs and not chat.logprobs:
        reason = "top_logprobs needs logprobs to be true"
        raise BadRequestError(reason, param="top_logprobs", code="unsupported")
    if chat.wants_usage and not chat.stream:
        reason = "stream_options needs stream to be true"
        raise BadRequestError(reason, param="stream_options", code="unsupported")
    if reserved := sorted({*(chat.chat_template_kwargs or ())} & {*RESERVED_VARIABLES}):
        reason = f"these variables are reserved for the server: {', '.join(reserved)}; remove them"
        raise BadRequestError(reason, param="chat_template_kwargs", code="unsupported")
    return chat


def _without_unused_tools(body: Any, ignored: Ignored) -> Any:
    """Remove ``tools`` and ``functions`` if the request forbids the model from calling them."""
    if not isinstance(body, dict):
        return body
    unused = [
        tools
        for tools, choice in (("tools", "tool_choice"), ("functions", "function_call"))
        if body.get(tools) and body.get(choice) == "none"
    ]
    for tools in unused:
        ignored.add(tools, tools)
    return {key: value for key, value in body.items() if key not in unused}


def _bad_value(error: ValidationError, body: Any) -> BadRequestError:
    """Convert pydantic's errors to a single error about the first invalid field.

    If a value may have several types, the most deeply nested error is reported.
    """
    errors = error.errors(include_url=False, include_input=False)
    paths = [_path(each, body) for each in errors]
    path = max((p for p in paths if p[:1] == paths[0][:1]), key=len)
    reported = [each for each, p in zip(errors, paths, strict=True) if p == path]
    param = ".".join(map(str, path))[:200]
    reason = ", or: ".join(dict.fromkeys(each["msg"] for each in reported))
    reason = f"{param}: {reason}" if param else reason
    kind = reported[0]["type"]
    code = kind if kind in ("unsupported", "unknown_key") else "invalid_value"
    return BadRequestError(reason[:500], param=param or None, code=code)


def _path(error: ErrorDetails, body: Any) -> tuple[str | int, ...]:
    """Return the keys and indices in an error's location, without its type names."""
    path: list[str | int] = []
    value = body
    last = len(error["loc"]) - 1
    for at, part in enumerate(error["loc"]):
        if isinstance(value, dict):
            exists = part in value
        else:
            exists = isinstance(value, list) and isinstance(part, int)
        if exists:
            value = value[part]
        if exists or (at == last and error["type"] == "missing"):
            path.append(part)
    if "key" in (context := error.get("ctx", {})):  # an unknown or unsupported key of an object
        path.append(context["key"])
    return tuple(path)
