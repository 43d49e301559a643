"""Open a model on a server: read keys from the environment, and check the addresses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import httpx

from archon.errors import UsageError
from archon.lm.credentials import header_from, key_from
from archon.lm.openai.client import RemoteLM
from archon.lm.openai.model_list import only_model
from archon.lm.openai.transport import tls_context
from archon.spec.model import FromVariable, OpenAICard
from archon.spec.providers import missing_address


def open_remote(card: OpenAICard, base_dir: Path | None = None) -> RemoteLM:
    """Open a card's model, with the API keys from the environment variables that the card names.

    A card without a model gets the server's only one.

    Raises
    ------
    UsageError
        A variable of a key or address is not set, or its value is not a key; an address is invalid
        or has a password; or the certificates that the environment names cannot be read.
    ModelError
        The card has no model, and the server does not have exactly one.
    """
    if not card.base_urls and card.provider is not None:
        raise UsageError(f"model {card.name!r}: {missing_address(card.provider)}")
    for number, url in enumerate(card.base_urls):
        if not _is_plain_address(url):
            raise UsageError(
                f"model {card.name!r}: base_urls[{number}] must consist of a scheme, host and path "
                "only; put an API key into the environment variable that 'api_key_env' names"
            )
    try:
        secret_headers = {
            name: header_from(value.env)
            for name, value in card.headers.items()
            if isinstance(value, FromVariable)
        }
        api_key = None if card.api_key_env is None else key_from(card.api_key_env)
    except UsageError as error:
        raise UsageError(f"model {card.name!r}: {error}{_repository_hint(card)}") from None
    if card.model is None:
        card = card.model_copy(update={"model": _only_model(card, api_key, secret_headers)})
    return RemoteLM(card, api_key=api_key, secret_headers=secret_headers)


def _only_model(card: OpenAICard, api_key: str | None, secret_headers: Mapping[str, str]) -> str:
    plain = {name: value for name, value in card.headers.items() if isinstance(value, str)}
    bearer = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    is_secure = card.base_urls[0].startswith("https")
    verify = tls_context(card.trust_env) if is_secure else False
    return only_model(card, bearer | plain | dict(secret_headers), verify)


def _repository_hint(card: OpenAICard) -> str:
    """Return advice for the name of a provider that may be meant as the owner of a repository."""
    if card.provider is None or card.model is None or "/" in card.model:
        return ""
    return (
        f" (the repository of this name on the Hugging Face hub is hf:{card.provider}/{card.model})"
    )


def _is_plain_address(url: str) -> bool:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return bool(parsed.host) and not (parsed.userinfo or parsed.query or parsed.fragment)
