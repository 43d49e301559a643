"""Strict reading of what servers of the OpenAI protocol reply, to chats and plain completions.

Nothing here does input or output. A reader raises an ``LMError`` that says what is wrong. It may
quote the server at length, and with it a key: ``Transport.told`` makes it fit to be shown.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from archon.errors import LMError
from archon.types import FinishReason

_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
}
_MAX_COUNT = 10**9
_SURROGATE = re.compile("[\ud800-\udfff]")


class GarbledError(LMError):
    """What came, with status 200, is no reply of the protocol.

    The server or something between is at fault, as with a status of 500: another try may do.
    """

    def __init__(
        self, reason: str, *, retryable: bool = True, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(reason, retryable=retryable, retry_after_seconds=retry_after_seconds)


@dataclass(slots=True)
class Choice:
    """One text of a reply, whole or as far as it has come."""

    text: str = ""
    finish_reason: FinishReason | None = None
    logprobs: list[float] = field(default_factory=list)
    tokens: list[bytes] = field(default_factory=list)
    """Of which the log-probabilities are."""


@dataclass(slots=True)
class Reply:
    """What a server answered: its texts by index, and the tokens that it counted.

    Counts that are missing or make no sense are 0.
    """

    num_choices: int
    """Texts that were asked for."""
    max_characters: int | None = None
    """Of one text; a longer one was not asked for."""
    is_plain: bool = False
    """Texts are not the content of messages, but stand by themselves (plain completions)."""
    choices: dict[int, Choice] = field(default_factory=dict)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def finished(self) -> list[Choice]:
        """The texts in their order, once all are there and have ended."""
        choices = [self.choices[index] for index in sorted(self.choices)]
        if any(choice.finish_reason is None for choice in choices):
            raise LMError("the reply ended before its text did", retryable=True)
        if len(choices) != self.num_choices:
            hint = "; does the server know n, as its card's native_n says?"
            reason = f"{self.num_choices} texts were asked for, {len(choices)} came"
            if not choices:
                raise GarbledError(reason)
            raise LMError(reason + (hint if self.num_choices > 1 else ""))
        return choices

    def add(self, choice: Choice, text: str) -> str:
        """Add to a text of this reply; what was added."""
        # Half surrogate pairs, which JSON can spell, become U+FFFD: they could not be written out.
        if _SURROGATE.search(text) is not None:
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        choice.text += text
        if self.max_characters is not None and len(choice.text) > self.max_characters:
            raise LMError("the text is far longer than max_tokens allows")
        return text


def read_reply(reply: Reply, content: bytes) -> None:
    """Read a whole reply, not streamed."""
    data = _json_object(content)
    _read_usage(reply, data)
    for choice, raw in _choices(reply, data):
        message = raw if reply.is_plain else raw.get("message")
        if not isinstance(message, dict):
            raise GarbledError("the reply has a choice without a message")
        text = message.get("text" if reply.is_plain else "content")
        if not isinstance(text, str):
            raise LMError(f"the reply has no text{_refusal(message)}")
        reply.add(choice, text)
        choice.finish_reason = _finish_reason(raw.get("finish_reason"))
        _read_logprobs(choice, raw)


def read_chunk(reply: Reply, content: bytes) -> Iterator[tuple[int, str]]:
    """Add a chunk of a streamed reply to the whole; yields (index, new text) of each choice."""
    data = _json_object(content)
    _read_usage(reply, data)
    for choice, raw in _choices(reply, data):
        delta = raw if reply.is_plain else raw.get("delta")
        if not isinstance(delta, dict):
            raise GarbledError("the streamed reply has a choice without a delta")
        text = delta.get("text" if reply.is_plain else "content")
        if not isinstance(text, str | None):
            raise GarbledError("the streamed reply has content that is not text")
        _read_logprobs(choice, raw)
        if raw.get("finish_reason") is not None:
            choice.finish_reason = _finish_reason(raw["finish_reason"])
        if text:
            yield int(raw.get("index", 0)), reply.add(choice, text)


def error_text(content: bytes) -> str:
    """What an error reply says: the message of a JSON error object, else its text."""
    try:
        data = json.loads(content)
        error = data.get("error", data)
        message = error if isinstance(error, str) else error.get("message") or error.get("detail")
    except (ValueError, AttributeError, RecursionError):
        message = None
    if not isinstance(message, str):
        message = content.decode("utf-8", "replace")
        if "<html" in message.lower():
            return "(an HTML page)"
    return " ".join(message.split())


def _json_object(content: bytes) -> dict[str, Any]:
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        start = " ".join(content[:4096].decode("utf-8", "replace").split())
        raise GarbledError(f"the reply is not valid JSON: {start or '(nothing)'}") from None
    if not isinstance(data, dict):
        raise GarbledError("the reply is not a JSON object")
    if data.get("error"):
        raise LMError(f"the server reports an error: {error_text(content)}", retryable=True)
    return data


def _choices(reply: Reply, data: dict[str, Any]) -> Iterator[tuple[Choice, dict[str, Any]]]:
    """Each choice that the data speaks of, with what it says; ``reply`` gets those that are new."""
    raw_choices = data.get("choices")
    if not isinstance(raw_choices, list):
        raise GarbledError("the reply has no list of choices")
    for raw in raw_choices:
        index = raw.get("index", 0) if isinstance(raw, dict) else None
        if type(index) is not int or not 0 <= index < reply.num_choices:
            raise GarbledError("the reply has a choice that is no object, or that nobody asked for")
        yield reply.choices.setdefault(index, Choice()), raw


def _finish_reason(value: object) -> FinishReason:
    if value == "content_filter":
        raise LMError("the server withheld the text (finish_reason 'content_filter')")
    reason = _FINISH_REASONS.get(value) if isinstance(value, str) else None
    if reason is None:
        raise LMError(f"the reply has the finish_reason {str(value)[:40]!r}, which is not a text's")
    return reason


def _refusal(message: dict[str, Any]) -> str:
    refusal = message.get("refusal")
    if isinstance(refusal, str):
        return f": the model refused ({refusal})"
    return ": the model called a tool" if message.get("tool_calls") else ""


def _read_logprobs(choice: Choice, raw: dict[str, Any]) -> None:
    """Chats have an object for each token, plain completions have two lists."""
    logprobs = raw.get("logprobs")
    if not isinstance(logprobs, dict):
        return
    try:
        if logprobs.get("token_logprobs") is not None:
            pairs = list(zip(logprobs["token_logprobs"], logprobs["tokens"], strict=True))
        else:
            pairs = [(token["logprob"], token) for token in logprobs.get("content") or ()]
        read = [(float(value), _token_bytes(token)) for value, token in pairs]
    except (TypeError, KeyError, ValueError, OverflowError):
        raise LMError("the reply has log-probabilities that cannot be read") from None
    if any(math.isnan(value) or value > 1e-3 for value, _ in read):
        raise LMError("the reply has log-probabilities that are none")
    choice.logprobs += [value for value, _ in read]
    choice.tokens += [token for _, token in read]


def _token_bytes(token: Any) -> bytes:
    """A token by itself may be a part of a character, which its text cannot show."""
    if isinstance(token, dict):
        if isinstance(token.get("bytes"), list):
            return bytes(token["bytes"])
        token = token.get("token", "")
    if not isinstance(token, str):
        raise TypeError("a token is text")
    return token.encode("utf-8", "replace")


def _read_usage(reply: Reply, data: dict[str, Any]) -> None:
    usage = data.get("usage")
    if not isinstance(usage, dict):
        return
    reply.prompt_tokens = _count(usage.get("prompt_tokens"))
    reply.completion_tokens = _count(usage.get("completion_tokens"))
    details = usage.get("prompt_tokens_details")
    if isinstance(details, dict):
        reply.cached_tokens = min(_count(details.get("cached_tokens")), reply.prompt_tokens)


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value <= _MAX_COUNT else 0
