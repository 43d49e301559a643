"""Requests of the chat-completions protocol, read strictly.

What a request asks for and cannot be given is refused, never ignored. Extension keys beyond
OpenAI's are ``top_k``, ``min_p`` and ``archon``.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from archon.errors import SpecError
from archon.spec.strict_json import decode_json
from archon.spec.thinking import RESERVED_VARIABLES
from archon.types import Constraint, Message, Request, SamplingParams, Thinking

MAX_DRAWS = 128
_MAX_INT64 = 2**63 - 1
_LEAST_TOP_P = 1e-9
"""Stands for a top-p of 0: it keeps the likeliest token alone, whose share is larger."""

_MAX_STOP_CHARACTERS = 1000
"""Each new token is compared with every beginning of a stop string."""
StopString = Annotated[str, Field(min_length=1, max_length=_MAX_STOP_CHARACTERS)]


class BadRequestError(Exception):
    """The request cannot be honoured as it stands; ``param`` is the key at fault, if it is one."""

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400
    ) -> None:
        self.message, self.param, self.code, self.status = message, param, code, status
        super().__init__(message)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        """``null`` stands for a key that is left out."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None}


class TextPart(_Strict):
    """A part of a message's content."""

    type: Literal["text"]
    text: str


class ChatMessage(_Strict):
    """A turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(min_length=1, fail_fast=True)]

    def message(self) -> Message:
        """The same as a value of ``archon.types``."""
        text = self.content
        if isinstance(text, list):
            text = "".join(part.text for part in text)
        return Message("system" if self.role == "developer" else self.role, text)


class StreamOptions(_Strict):
    """What a streamed reply holds besides the text."""

    include_usage: bool = False


class TextFormat(_Strict):
    """Text of any form."""

    type: Literal["text"]


class JsonObjectFormat(_Strict):
    """Any JSON object."""

    type: Literal["json_object"]


class NamedSchema(_Strict):
    """A JSON Schema; it is followed to the letter whether or not ``strict`` says so."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class JsonSchemaFormat(_Strict):
    """JSON that a schema allows."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


ResponseFormat = Annotated[
    TextFormat | JsonObjectFormat | JsonSchemaFormat, Field(discriminator="type")
]


class ArchonOptions(_Strict):
    """What is told of an answer beyond OpenAI's protocol."""

    trace: bool = Field(False, description="Return every node's prompts and completions.")


class ChatRequest(_Strict):
    """The body of ``POST /v1/chat/completions``; ``null`` stands for a key that is left out."""

    model: str
    messages: list[ChatMessage] = Field(min_length=1, fail_fast=True)
    n: int | None = Field(None, ge=1, le=MAX_DRAWS)
    seed: int | None = Field(None, ge=-_MAX_INT64, le=_MAX_INT64)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=0, le=1_000_000)
    min_p: float | None = Field(None, ge=0, le=1)
    max_tokens: int | None = Field(None, ge=1, le=1_000_000)
    max_completion_tokens: int | None = Field(None, ge=1, le=1_000_000)
    stop: StopString | Annotated[list[StopString], Field(max_length=4, fail_fast=True)] | None = (
        None
    )
    logprobs: bool | None = None
    response_format: ResponseFormat | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    archon: ArchonOptions | None = None
    # Say who asks; they change nothing.
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    # Keys that many clients always send; only the value that changes nothing is taken.
    top_logprobs: int | None = Field(None, ge=0, le=20)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[str, float] | None = None
    store: bool | None = None
    service_tier: Literal["auto", "default"] | None = None
    modalities: list[Literal["text"]] | None = Field(None, min_length=1, max_length=1)

    @property
    def wants_trace(self) -> bool:
        """Whether the reply tells what each node did."""
        return self.archon is not None and self.archon.trace

    @property
    def wants_usage(self) -> bool:
        """Whether a streamed reply ends with the tokens that were used."""
        return self.stream_options is not None and self.stream_options.include_usage

    def request(self) -> Request:
        """The same as a request to a language model; without a seed, a random one."""
        stop = (self.stop,) if isinstance(self.stop, str) else self.stop
        return Request(
            messages=tuple(message.message() for message in self.messages),
            n=self.n or 1,
            seed=secrets.randbits(53) if self.seed is None else self.seed,
            sampling=SamplingParams(
                temperature=self.temperature,
                top_k=self.top_k,
                top_p=None if self.top_p is None else max(self.top_p, _LEAST_TOP_P),
                min_p=self.min_p,
                max_tokens=self.max_tokens or self.max_completion_tokens,
                stop=None if stop is None else tuple(stop),
            ),
            constraint=self._constraint(),
            logprobs=bool(self.logprobs),
            thinking=self._thinking(),
        )

    def _thinking(self) -> Thinking:
        """A switch in the template's variables is the request's own; any effort but the least two
        asks for reasoning."""
        variables = dict(self.chat_template_kwargs or {})
        wanted = variables.get("enable_thinking")
        if isinstance(wanted, bool):
            del variables["enable_thinking"]
        else:
            wanted = None
        if wanted is None and self.reasoning_effort is not None:
            wanted = self.reasoning_effort not in ("none", "minimal")
        return Thinking(wanted, variables or None)

    def _constraint(self) -> Constraint | None:
        match self.response_format:
            case JsonObjectFormat():
                return Constraint(json_schema={"type": "object"})
            case JsonSchemaFormat(json_schema=named):
                return Constraint(json_schema=named.schema_)
            case _:
                return None


def read_chat_request(content: bytes) -> ChatRequest:
    """The request in a body.

    Raises
    ------
    BadRequestError : the body is not strict JSON, or asks for what nobody here can give.
    """
    try:
        body = decode_json(content)
    except SpecError as error:
        raise BadRequestError(f"the body is not sound JSON: {error}") from None
    try:
        chat = ChatRequest.model_validate(body)
    except ValidationError as error:
        raise _bad_value(error, body) from None
    for param, is_refused, reason in (
        (
            "max_tokens",
            chat.max_tokens is not None and chat.max_completion_tokens is not None,
            "give either max_tokens or max_completion_tokens, not both",
        ),
        (
            "chat_template_kwargs",
            set(chat.chat_template_kwargs or ()) & set(RESERVED_VARIABLES),
            f"no variable may be named {', '.join(RESERVED_VARIABLES)}",
        ),
        (
            "stream_options",
            chat.stream_options is not None and not chat.stream,
            "stream_options needs stream to be true",
        ),
        ("top_logprobs", chat.top_logprobs, "only the tokens that were drawn have probabilities"),
        ("frequency_penalty", chat.frequency_penalty, "no model here penalises frequency"),
        ("presence_penalty", chat.presence_penalty, "no model here penalises presence"),
        ("logit_bias", chat.logit_bias, "no model here takes a bias"),
        ("store", chat.store, "nothing is stored here"),
    ):
        if is_refused:
            raise BadRequestError(reason, param=param, code="unsupported")
    return chat


def _bad_value(error: ValidationError, body: Any) -> BadRequestError:
    """The first error; of a value that may have several types, that which lies deepest in it."""
    errors = error.errors(include_url=False, include_input=False)
    places = [_place(each, body) for each in errors]
    place = max((p for p in places if p[:1] == places[0][:1]), key=len)
    there = [each for each, p in zip(errors, places, strict=True) if p == place]
    param = ".".join(map(str, place))[:200]
    if there[0]["type"] == "extra_forbidden":
        reason = f"{param}: this server does not know the key"
        return BadRequestError(reason, param=param, code="unknown_key")
    reason = ", or: ".join(dict.fromkeys(each["msg"] for each in there))
    reason = f"{param}: {reason}" if param else reason
    return BadRequestError(reason[:500], param=param or None, code="invalid_value")


def _place(error: ErrorDetails, body: Any) -> tuple[str | int, ...]:
    """The keys and indices in an error's location, which also names types that were tried."""
    place: list[str | int] = []
    value = body
    last = len(error["loc"]) - 1
    for at, part in enumerate(error["loc"]):
        if isinstance(value, dict):
            is_there = part in value
        else:
            is_there = isinstance(value, list) and isinstance(part, int)
        if is_there:
            value = value[part]
        if is_there or (at == last and error["type"] == "missing"):
            place.append(part)
    return tuple(place)
