"""Errors of servers: their classes, the text of an error reply, and the card key that helps."""

from __future__ import annotations

import json

from archon.errors import LMError, RefusedError
from archon.spec.model import OMITTED_FIELDS, OpenAICard


class UnreachableError(LMError):
    """No connection could be made, so nothing was sent."""


class BusyError(LMError):
    """The server works and has too much to do (status 429)."""


class RejectedFieldError(LMError):
    """The server does not know or support a field of the request."""

    def __init__(
        self,
        reason: str,
        *,
        retryable: bool = False,
        retry_after_seconds: float | None = None,
        field: str = "",
    ) -> None:
        self.field = field
        super().__init__(reason, retryable=retryable, retry_after_seconds=retry_after_seconds)


class GarbledError(LMError):
    """The reply has status 200 and does not follow the protocol.

    The server or a gateway is at fault, as with a status of 500: a retry may succeed.
    """

    def __init__(
        self, reason: str, *, retryable: bool = True, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(reason, retryable=retryable, retry_after_seconds=retry_after_seconds)


class ReportedError(LMError):
    """The server reports an error with status 200; ``content`` is its reply."""

    def __init__(
        self,
        reason: str,
        *,
        retryable: bool = True,
        retry_after_seconds: float | None = None,
        content: bytes = b"",
    ) -> None:
        self.content = content
        super().__init__(reason, retryable=retryable, retry_after_seconds=retry_after_seconds)


def error_text(content: bytes) -> str:
    """The message of a JSON error object; the plain text of any other error reply."""
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


# --------------------------------------------------------------------------------------- hints

_THINKING = '"thinking_field" to the field that the server takes, or leave "thinking" out'
_KEY_FOR_FIELD = {
    "n": '"native_n" to false: each sample is then a request of its own',
    "logprobs": '"logprobs" to false',
    "top_logprobs": '"logprobs" to false',
    "response_format": '"constraint" to null or to another way to send the form',
    "structured_outputs": '"constraint" to null or to another way to send the form',
    "chat_template_kwargs": _THINKING,
    "reasoning_effort": _THINKING,
    "reasoning": _THINKING,
    "enable_thinking": _THINKING,
    "max_completion_tokens": '"max_tokens_field" to "max_tokens"',
}


def hint(card: OpenAICard, error: LMError) -> str:
    """What to change in the card; empty where no key helps."""
    if isinstance(error, RejectedFieldError):
        return _hint_for_field(card, error.field)
    status = error.status if isinstance(error, RefusedError) else None
    if status in (401, 403):
        if card.api_key_env is None and not card.headers:
            return 'the card names no key: "api_key_env" names the variable that holds it'
        if card.api_key_env is not None:
            return f'the key comes from the variable {card.api_key_env} (the card\'s "api_key_env")'
    if status in (404, 405):
        return 'check the card\'s "base_urls" (up to and including /v1), "endpoint" and "model"'
    if status == 407:
        return 'the proxy of the environment refuses; the card\'s "trust_env": false ignores it'
    return ""


def _hint_for_field(card: OpenAICard, field: str) -> str:
    if field in card.body:
        return f'remove {field!r} from the card\'s "body"'
    if field in _KEY_FOR_FIELD:
        return f"set the card's {_KEY_FOR_FIELD[field]}"
    if field not in OMITTED_FIELDS:
        return ""
    advice = f'set the card\'s "omit" to ["{field}"], and the server uses its own default'
    if field == "temperature":
        advice += ', or "server_sampling" to true, and no sampling parameter is sent'
    return advice
