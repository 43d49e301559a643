"""The chat-completions protocol as a client speaks it: what is sent, and strict reading of replies.

Nothing here does input or output. A reader raises an ``LMError`` that says what is wrong. It may
quote the server at length, and with it a key: ``Transport.told`` makes it fit to be shown.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from archon.errors import LMError
from archon.types import FinishReason, Message, SamplingParams

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


def request_body(
    model: str, messages: Sequence[Message], sampling: SamplingParams, **options: object
) -> dict[str, object]:
    """The JSON object to post.

    ``sampling`` must have every value set. What many servers do not know (``top_k``, ``min_p``) is
    sent only where it changes something; ``options`` that are None are left out.
    """
    body: dict[str, object] = {
        "model": model,
        "messages": [{"role": m.role, "content": m.content} for m in messages],
        "temperature": sampling.temperature,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.top_p != 1:
        body["top_p"] = sampling.top_p
    if sampling.top_k:
        body["top_k"] = sampling.top_k
    if sampling.min_p:
        body["min_p"] = sampling.min_p
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    body.update({name: value for name, value in options.items() if value is not None})
    return body


@dataclass(slots=True)
class Choice:
    """One text of a reply, whole or as far as it has come."""

    text: str = ""
    finish_reason: FinishReason | None = None
    logprobs: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Reply:
    """What a server answered: its texts by index, and the tokens that it counted.

    Counts that are missing or make no sense are 0.
    """

    num_choices: int
    """Texts that were asked for."""
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
            raise LMError(f"{self.num_choices} texts were asked for, {len(choices)} came")
        return choices


def read_reply(content: bytes, num_choices: int) -> Reply:
    """A whole reply, not streamed."""
    data = _json_object(content)
    reply = Reply(num_choices)
    _read_usage(reply, data)
    for choice, raw in _choices(reply, data):
        message = raw.get("message")
        if not isinstance(message, dict):
            raise LMError("the reply has a choice without a message")
        text = message.get("content")
        if not isinstance(text, str):
            raise LMError(f"the reply has no text{_refusal(message)}")
        choice.text = _valid_unicode(text)
        choice.finish_reason = _finish_reason(raw.get("finish_reason"))
        choice.logprobs = _logprobs(raw)
    return reply


def read_chunk(reply: Reply, content: bytes) -> Iterator[tuple[int, str]]:
    """Add a chunk of a streamed reply to the whole; yields (index, new text) of each choice."""
    data = _json_object(content)
    _read_usage(reply, data)
    for choice, raw in _choices(reply, data):
        delta = raw.get("delta")
        if not isinstance(delta, dict):
            raise LMError("the streamed reply has a choice without a delta")
        text = delta.get("content")
        if not isinstance(text, str | None):
            raise LMError("the streamed reply has content that is not text")
        choice.logprobs += _logprobs(raw)
        if raw.get("finish_reason") is not None:
            choice.finish_reason = _finish_reason(raw["finish_reason"])
        if text:
            text = _valid_unicode(text)
            choice.text += text
            yield int(raw.get("index", 0)), text


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
        raise LMError(f"the reply is not valid JSON: {start or '(nothing)'}") from None
    if not isinstance(data, dict):
        raise LMError("the reply is not a JSON object")
    if data.get("error"):
        raise LMError(f"the server reports an error: {error_text(content)}", retryable=True)
    return data


def _choices(reply: Reply, data: dict[str, Any]) -> Iterator[tuple[Choice, dict[str, Any]]]:
    """Each choice that the data speaks of, with what it says; ``reply`` gets those that are new."""
    raw_choices = data.get("choices")
    if not isinstance(raw_choices, list):
        raise LMError("the reply has no list of choices")
    for raw in raw_choices:
        index = raw.get("index", 0) if isinstance(raw, dict) else None
        if type(index) is not int or not 0 <= index < reply.num_choices:
            raise LMError("the reply has a choice that is no object, or that nobody asked for")
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


def _logprobs(raw: dict[str, Any]) -> list[float]:
    logprobs = raw.get("logprobs")
    if not isinstance(logprobs, dict) or logprobs.get("content") is None:
        return []
    try:
        values = [float(token["logprob"]) for token in logprobs["content"]]
    except (TypeError, KeyError, ValueError):
        raise LMError("the reply has log-probabilities that cannot be read") from None
    if any(math.isnan(value) or value > 1e-3 for value in values):
        raise LMError("the reply has log-probabilities that are none")
    return values


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


def _valid_unicode(text: str) -> str:
    """Half surrogate pairs, which JSON can spell, become U+FFFD: they could not be written out."""
    if _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
