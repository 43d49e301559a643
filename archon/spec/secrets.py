"""Protect secrets: files name environment variables instead, and keys are never printed.

No error in this module quotes a value, because any value may be a key.
"""

from __future__ import annotations

import re
from itertools import pairwise

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_MAX_VARIABLE = 200
_MAX_RUN = 16
"""Random letters and digits of at least this length are not part of a variable's name."""
_KEY = re.compile(
    r"(?:\b|(?<=_))(?:sk|pk|rk|hf|gsk|ghp|gho|ghs|xai|r8|nvapi|pplx|glpat|github_pat|xox[abp])"
    r"[-_][A-Za-z0-9_-]{12,}"
    r"|\bAIza[A-Za-z0-9_-]{20,}|\bAKIA[A-Z0-9]{12,}|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9._-]+"
)
"""API keys of well-known services, which have known prefixes."""
_WORD = re.compile(r"[A-Za-z0-9+=_~-]+")
_SECRET_FIELDS = frozenset(
    {
        "api_key", "apikey", "x_api_key", "authorization", "proxy_authorization", "token",
        "access_token", "auth_token", "bearer_token", "secret", "client_secret", "password",
    }
)  # fmt: skip


def mask_known_keys(text: str) -> str:
    """Replace every API key of a well-known service with ``[key]``.

    >>> mask_known_keys("must be a name, not 'sk-proj-0123456789abcdef'")
    "must be a name, not '[key]'"
    """
    return _KEY.sub("[key]", text)


def has_known_key(text: str) -> bool:
    """Return True if the text contains an API key of a well-known service."""
    return _KEY.search(text) is not None


def mask_secrets(text: str) -> str:
    """Replace API keys of well-known services, and all words that look like keys, with ``[key]``.

    Digests and identifiers look like keys too. Use this function only for files that may contain a
    key of any service.

    >>> mask_secrets("must be a number, not '0123456789abcdef0123456789abcdef'")
    "must be a number, not '[key]'"
    """
    return _WORD.sub(
        lambda word: "[key]" if looks_like_key(word.group()) else word.group(),
        mask_known_keys(text),
    )


def is_secret_field(name: str) -> bool:
    """Return True if a field of this name usually contains a secret.

    >>> is_secret_field("API-Key"), is_secret_field("max_tokens")
    (True, False)
    """
    return name.lower().replace("-", "_") in _SECRET_FIELDS


def looks_like_key(value: str) -> bool:
    """Return True if a value is probably a key rather than the name of an environment variable.

    >>> looks_like_key("OPENAI_API_KEY"), looks_like_key("hf_QwErTyUiOpAsDfGhJk")
    (False, True)
    """
    is_name = _VARIABLE.match(value) is not None and value in (value.upper(), value.lower())
    if _KEY.search(value) is not None and not (is_name and "_" in value):
        return True
    runs = re.findall(r"[A-Za-z0-9]+", value)
    return any(len(run) >= _MAX_RUN and _is_random(run) for run in runs)


def check_variable(name: object) -> object:
    """Return ``name`` if it can be the name of an environment variable.

    Raises
    ------
    ValueError
        ``name`` cannot be the name of a variable. The message does not quote it.
    """
    if not isinstance(name, str):
        return name  # pydantic reports that it must be a string
    if looks_like_key(name):
        raise ValueError(
            "must be the name of an environment variable, such as OPENAI_API_KEY. This value looks "
            "like a key, so it is not shown. Put the key in an environment variable, and write "
            "the variable's name here"
        )
    if _VARIABLE.match(name) is None or len(name) > _MAX_VARIABLE:
        raise ValueError(
            "must be the name of an environment variable, which consists of letters, digits and "
            "'_', such as OPENAI_API_KEY. The value is not shown because it may be a key"
        )
    return name


def _is_random(run: str) -> bool:
    """Return True if letters and digits look random: they are mixed, or the case changes often."""
    if len(re.findall(r"[0-9](?=[A-Za-z])", run)) > 1:
        return True
    changes = sum(a.islower() != b.islower() for a, b in pairwise(run))
    return changes > 0.45 * len(run)
