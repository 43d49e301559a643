"""Protection of secrets: files name environment variables, and keys are never printed.

No error of this module quotes a value: whatever looks like a key may be one.
"""

from __future__ import annotations

import re
from itertools import pairwise

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_MAX_VARIABLE = 200
_MAX_RUN = 16
"""A longer run of random letters and digits is not part of a variable's name."""
_KEY = re.compile(
    r"(?:\b|(?<=_))(?:sk|pk|rk|hf|gsk|ghp|gho|ghs|xai|r8|nvapi|pplx|glpat|github_pat|xox[abp])"
    r"[-_][A-Za-z0-9_-]{12,}"
    r"|\bAIza[A-Za-z0-9_-]{20,}|\bAKIA[A-Z0-9]{12,}|\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9._-]+"
)
"""Keys with the prefixes of well-known services."""
_WORD = re.compile(r"[A-Za-z0-9+=_~-]+")
_SECRET_FIELDS = frozenset(
    {
        "api_key", "apikey", "x_api_key", "authorization", "proxy_authorization", "token",
        "access_token", "auth_token", "bearer_token", "secret", "client_secret", "password",
    }
)  # fmt: skip


def mask_known_keys(text: str) -> str:
    """Replace everything that looks like a key of a well-known service with ``[key]``.

    >>> mask_known_keys("must be a name, not 'sk-proj-0123456789abcdef'")
    "must be a name, not '[key]'"
    """
    return _KEY.sub("[key]", text)


def has_known_key(text: str) -> bool:
    """Return True if the text contains a key with the prefix of a well-known service."""
    return _KEY.search(text) is not None


def mask_secrets(text: str) -> str:
    """Replace known keys and every word that ``looks_like_key`` with ``[key]``.

    Use it only for files that may contain keys of any service: digests and identifiers look the
    same.

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
    """Return True if a value is more likely to be a key than the name of a variable.

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
        It cannot. The message does not quote it.
    """
    if not isinstance(name, str):
        return name  # pydantic reports that it must be a string
    if looks_like_key(name):
        raise ValueError(
            "must be the name of an environment variable, such as OPENAI_API_KEY. This value looks "
            "like a key and is not shown: put the key into an environment variable and write the "
            "variable's name here"
        )
    if _VARIABLE.match(name) is None or len(name) > _MAX_VARIABLE:
        raise ValueError(
            "must be the name of an environment variable, such as OPENAI_API_KEY: letters, digits "
            "and '_'. This value is not one, and is not shown because it may be a key"
        )
    return name


def _is_random(run: str) -> bool:
    """Return True if digits are scattered among letters, or if the case changes often."""
    if len(re.findall(r"[0-9](?=[A-Za-z])", run)) > 1:
        return True
    changes = sum(a.islower() != b.islower() for a, b in pairwise(run))
    return changes > 0.45 * len(run)
