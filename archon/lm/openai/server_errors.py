"""Server errors: their classes and messages, and hints on which card key to change."""

from __future__ import annotations

import json

from archon.errors import LMError, RefusedError
from archon.spec.model import OMITTED_FIELDS, OpenAICard


class UnreachableError(LMError):
    """The connection to the server could not be opened."""


class BusyError(LMError):
    """The server is healthy but overloaded (status 429)."""


class RejectedFieldError(LMError):
    """The server does not support a field of the request."""

    def __init__(self, reason: str, *, field: str = "") -> None:
        self.field = field
        super().__init__(reason)


class GarbledError(LMError):
    """A reply has status 200 but does not follow the protocol.

    As with status 500, the server or a gateway is at fault, so a retry may succeed.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason, retryable=True)


class ReportedError(LMError):
    """The server replies with status 200, but the body reports an error.

    ``content`` is the body.
    """

    def __init__(self, reason: str, *, content: bytes = b"") -> None:
        self.content = content
        super().__init__(reason, retryable=True)


def error_text(content: bytes) -> str:
    """Return the error message in the body of a reply.

    This is the message in a JSON error object. If the body is not one, it is the complete body.
    """
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

_THINKING = '"thinking_field" to the field that the server supports, or omit "thinking"'
_CONSTRAINT = '"constraint" to null or to another method'
_KEY_FOR_FIELD = {
    "n": '"native_n" to false to send a separate request for each sample',
    "logprobs": '"logprobs" to false',
    "top_logprobs": '"logprobs" to false',
    "response_format": _CONSTRAINT,
    "structured_outputs": _CONSTRAINT,
    "chat_template_kwargs": _THINKING,
    "reasoning_effort": _THINKING,
    "reasoning": _THINKING,
    "enable_thinking": _THINKING,
    "max_completion_tokens": '"max_tokens_field" to "max_tokens"',
}


def hint(card: OpenAICard, error: LMError) -> str:
    """Return advice on which card key to change, or "" if no key can help."""
    if isinstance(error, RejectedFieldError):
        return _hint_for_field(card, error.field)
    status = error.status if isinstance(error, RefusedError) else None
    if status in (401, 403):
        if card.api_key_env is None and not card.headers:
            return (
                'set the card\'s "api_key_env" to the name of the environment variable with the key'
            )
        if card.api_key_env is not None:
            return (
                f"check the environment variable {card.api_key_env}, which the card's "
                '"api_key_env" names'
            )
    if status in (404, 405):
        return 'check the card\'s "base_urls" (which must include /v1), "endpoint" and "model"'
    if status == 407:
        return (
            "the proxy set in the environment refuses the request; to ignore proxy settings, set "
            'the card\'s "trust_env" to false'
        )
    return ""


def _hint_for_field(card: OpenAICard, field: str) -> str:
    if field in card.body:
        return f'remove {field!r} from the card\'s "body"'
    if field in _KEY_FOR_FIELD:
        return f"set the card's {_KEY_FOR_FIELD[field]}"
    if field not in OMITTED_FIELDS:
        return ""
    advice = f'set the card\'s "omit" to ["{field}"] to use the server\'s default'
    if field == "temperature":
        advice += ', or "server_sampling" to true to send no sampling parameters'
    return advice
