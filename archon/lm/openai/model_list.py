"""The models of a server, for cards that do not name one."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import httpx

from archon.errors import ModelError
from archon.lm.openai.server_errors import error_text
from archon.spec.messages import shown
from archon.spec.model import OpenAICard

_TIMEOUT_SECONDS = 10.0
_MAX_LISTED = 20


def only_model(card: OpenAICard, headers: Mapping[str, str], verify: ssl.SSLContext | bool) -> str:
    """Return the name of the server's only model.

    Parameters
    ----------
    headers
        Sent with the request; may contain secrets.
    verify
        The trusted certificates; False for plain HTTP.

    Raises
    ------
    ModelError
        The server does not answer, or has no model or several models.
    """
    url = f"{card.base_urls[0].rstrip('/')}/models"
    cure = "name the model, as in " + shown(f"{card.base_urls[0]}#MODEL")
    cure += " or with the card's key 'model'"
    try:
        with httpx.Client(trust_env=card.trust_env, verify=verify) as client:
            response = client.get(url, headers=dict(headers), timeout=_TIMEOUT_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, ImportError) as error:
        reason = str(error) or type(error).__name__
        raise ModelError(f"cannot ask {url} for its models: {reason}") from None
    if response.status_code != 200:
        detail = error_text(response.content[:500]) or response.reason_phrase
        status = f"status {response.status_code}: {_without(headers, detail)}"
        raise ModelError(f"{url} does not list its models ({status}); {cure}")
    names = _names(response)
    if len(names) == 1:
        return names[0]
    if not names:
        raise ModelError(f"{url} lists no model; load one in the server, or {cure}")
    listed = ", ".join(map(shown, names[:_MAX_LISTED])) + (", …" if names[_MAX_LISTED:] else "")
    raise ModelError(f"{url} has {len(names)} models: {listed}; {cure}")


def _names(response: httpx.Response) -> list[str]:
    try:
        data: Any = response.json()
        names = [str(model["id"]) for model in data["data"]]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []
    return list(dict.fromkeys(names))


def _without(headers: Mapping[str, str], text: str) -> str:
    """Remove secrets that a server may repeat in its error."""
    for value in headers.values():
        for secret in (value, value.removeprefix("Bearer ")):
            text = text.replace(secret, "[key]") if len(secret) > 5 else text
    return text
