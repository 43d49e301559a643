"""Open a model on a server: read keys from the environment, and check the addresses."""

from __future__ import annotations

from pathlib import Path

import httpx

from archon.errors import UsageError
from archon.lm.credentials import header_from, key_from
from archon.lm.openai.client import RemoteLM
from archon.spec.model import FromVariable, OpenAICard


def open_remote(card: OpenAICard, base_dir: Path | None = None) -> RemoteLM:
    """Open a card's model, with the API keys from the environment variables that the card names.

    Raises
    ------
    UsageError
        A variable is not set, or its value is not an API key. An address is invalid or contains a
        password. Certificates set in the environment cannot be read.
    """
    for number, url in enumerate(card.base_urls):
        if not _is_plain_address(url):
            raise UsageError(
                f"model {card.name!r}: base_urls[{number}] must consist of a scheme, host and path "
                "only; put an API key into the environment variable that 'api_key_env' names"
            )
    secret_headers = {
        name: header_from(value.env)
        for name, value in card.headers.items()
        if isinstance(value, FromVariable)
    }
    api_key = None if card.api_key_env is None else key_from(card.api_key_env)
    return RemoteLM(card, api_key=api_key, secret_headers=secret_headers)


def _is_plain_address(url: str) -> bool:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return bool(parsed.host) and not (parsed.userinfo or parsed.query or parsed.fragment)
