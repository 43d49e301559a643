"""The chat-completions protocol as a server speaks it: strict reading of requests, and replies.

What a request asks for and cannot be given is refused, never ignored. Extension keys beyond
OpenAI's are ``top_k`` and ``min_p``.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from archon.errors import SpecError
from archon.spec.strict_json import decode_json
from archon.types import Completion, Message, Request, SamplingParams, total_usage

MAX_DRAWS = 128
_MAX_INT64 = 2**63 - 1

NonEmpty = Annotated[str, Field(min_length=1)]


class BadRequestError(Exception):
    """The request cannot be honoured as it stands; ``param`` is the key at fault, if it is one."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        self.message, self.param, self.code = message, param, code
        super().__init__(message)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class TextPart(_Strict):
    """A part of a message's content."""

    type: Literal["text"]
    text: str


class ChatMessage(_Strict):
    """A turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    def message(self) -> Message:
        """The same as a value of ``archon.types``."""
        text = self.content
        if isinstance(text, list):
            text = "".join(part.text for part in text)
        return Message("system" if self.role == "developer" else self.role, text)


class StreamOptions(_Strict):
    """What a streamed reply holds besides the text."""

    include_usage: bool = False


class ResponseFormat(_Strict):
    """The form of the text; nothing but plain text is known."""

    type: Literal["text"]


class ChatRequest(_Strict):
    """The body of ``POST /v1/chat/completions``; ``null`` stands for a key that is left out."""

    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    n: int | None = Field(None, ge=1, le=MAX_DRAWS)
    seed: int | None = Field(None, ge=-_MAX_INT64, le=_MAX_INT64)
    temperature: float | None = Field(None, ge=0, le=10)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, le=1_000_000)
    min_p: float | None = Field(None, ge=0, le=1)
    max_tokens: int | None = Field(None, ge=1, le=1_000_000)
    max_completion_tokens: int | None = Field(None, ge=1, le=1_000_000)
    stop: NonEmpty | list[NonEmpty] | None = None
    logprobs: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = Field(None, description="Says who asks; it changes nothing.")
    # Keys that many clients always send; only the value that changes nothing is taken.
    top_logprobs: int | None = Field(None, ge=0, le=0)
    frequency_penalty: float | None = Field(None, ge=0, le=0)
    presence_penalty: float | None = Field(None, ge=0, le=0)
    response_format: ResponseFormat | None = None

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
                top_p=self.top_p,
                min_p=self.min_p,
                max_tokens=self.max_tokens or self.max_completion_tokens,
                stop=None if stop is None else tuple(stop),
            ),
            logprobs=bool(self.logprobs),
        )


def read_chat_request(content: bytes) -> ChatRequest:
    """The request in a body.

    Raises
    ------
    BadRequestError : the body is not strict JSON, or asks for what nobody here can give.
    """
    try:
        chat = ChatRequest.model_validate(decode_json(content))
    except SpecError as error:
        raise BadRequestError(f"the body is not sound JSON: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:200]
        if first["type"] == "extra_forbidden":
            raise BadRequestError(
                f"{place}: this server does not know the key", param=place, code="unknown_key"
            ) from None
        raise BadRequestError(
            f"{place}: {first['msg']}" if place else first["msg"], param=place or None
        ) from None
    if chat.max_tokens is not None and chat.max_completion_tokens is not None:
        raise BadRequestError(
            "give either max_tokens or max_completion_tokens, not both", param="max_tokens"
        )
    if chat.stream_options is not None and not chat.stream:
        raise BadRequestError("stream_options needs stream to be true", param="stream_options")
    return chat


# ------------------------------------------------------------------------------------- replies


@dataclass(frozen=True, slots=True)
class Replies:
    """Makes the JSON objects that answer one request."""

    model: str
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, completions: Sequence[Completion]) -> dict[str, Any]:
        """The reply that is not streamed."""
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": completion.text},
                "finish_reason": completion.finish_reason,
                "logprobs": _logprobs(completion),
            }
            for index, completion in enumerate(completions)
        ]
        return {**self._head("chat.completion"), "choices": choices, "usage": usage(completions)}

    def begin(self, index: int) -> dict[str, Any]:
        """The first chunk of a text."""
        return self._chunk(index, {"role": "assistant", "content": ""})

    def more(self, index: int, text: str) -> dict[str, Any]:
        """A chunk with more of a text."""
        return self._chunk(index, {"content": text})

    def end(self, index: int, completion: Completion) -> dict[str, Any]:
        """The last chunk of a text; it carries all log-probabilities."""
        return self._chunk(index, {}, completion.finish_reason, _logprobs(completion))

    def usage_chunk(self, completions: Sequence[Completion]) -> dict[str, Any]:
        """The chunk behind all texts, where usage is asked for."""
        head = self._head("chat.completion.chunk")
        return {**head, "choices": [], "usage": usage(completions)}

    def _chunk(
        self,
        index: int,
        delta: dict[str, str],
        finish_reason: str | None = None,
        logprobs: Any = None,
    ) -> dict[str, Any]:
        choice = {
            "index": index,
            "delta": delta,
            "finish_reason": finish_reason,
            "logprobs": logprobs,
        }
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def usage(completions: Sequence[Completion]) -> dict[str, Any]:
    """Tokens as OpenAI counts them: each distinct prompt once, however many texts it brought."""
    total = total_usage(completions)
    prompts = {digest: n for c in completions for digest, n in c.prompts.items()}
    prompt_tokens = sum(prompts.values())
    computed_tokens = total.prompt_tokens - total.cached_tokens
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": total.completion_tokens,
        "total_tokens": prompt_tokens + total.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": max(0, prompt_tokens - computed_tokens)},
    }


def model_list(names: Sequence[str]) -> dict[str, Any]:
    """The reply of ``GET /v1/models``."""
    return {"object": "list", "data": [model_object(name) for name in names]}


def model_object(name: str) -> dict[str, Any]:
    """One entry of it."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "archon"}


def error_object(
    message: str, kind: str, *, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """The body of every reply that is an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _logprobs(completion: Completion) -> dict[str, Any] | None:
    """Tokens are named by their ids (``token_id:42``): their own texts may be no valid Unicode."""
    if completion.logprobs is None:
        return None
    ids = completion.token_ids
    content: list[dict[str, Any]] = [
        {
            "token": "" if ids is None else f"token_id:{ids[i]}",
            "logprob": logprob,
            "bytes": None,
            "top_logprobs": [],
        }
        for i, logprob in enumerate(completion.logprobs)
    ]
    return {"content": content}
