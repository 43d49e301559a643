"""What to change in a model card where its server refuses a request."""

from __future__ import annotations

from archon.errors import LMError, RefusedError
from archon.lm.openai.transport import FieldError
from archon.spec.model import OMITTED_FIELDS, OpenAICard

_THINKING = '"thinking_field" to the field that the server takes, or leave "thinking" out'
_OF_FIELD = {
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
    """The card key that helps; empty where none does."""
    if isinstance(error, FieldError):
        return _of_field(card, error.field)
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


def _of_field(card: OpenAICard, field: str) -> str:
    if field in card.body:
        return f'remove {field!r} from the card\'s "body"'
    if field in _OF_FIELD:
        return f"set the card's {_OF_FIELD[field]}"
    if field not in OMITTED_FIELDS:
        return ""
    told = f'set the card\'s "omit" to ["{field}"], and the server uses its own default'
    if field == "temperature":
        told += ', or "server_sampling" to true, and no sampling parameter is sent'
    return told
