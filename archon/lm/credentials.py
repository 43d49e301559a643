"""API keys and secret headers from environment variables; never stored, never printed."""

from __future__ import annotations

import os

from archon.errors import UsageError
from archon.spec.secrets import check_variable


def key_from(variable: str) -> str:
    """Read a key from an environment variable.

    Raises
    ------
    UsageError
        The name is invalid, for example a key; the variable is not set; or its value cannot be a
        key.
    """
    try:
        check_variable(variable)
    except ValueError as error:
        raise UsageError(f"the value for the API key's variable {error}") from None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UsageError(f"the environment variable {variable} is not set; set it to the key")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UsageError(f"the environment variable {variable} has characters that no key has")
    return key


def header_from(variable: str) -> str:
    """Read the value of an HTTP header from an environment variable; it may have spaces.

    Raises
    ------
    UsageError
        The variable is not set, or its value cannot be a header.
    """
    value = os.environ.get(variable, "").strip()
    if not value:
        raise UsageError(f"the environment variable {variable} is not set; a header needs it")
    if not (value.isascii() and value.isprintable()):
        raise UsageError(f"the value of the environment variable {variable} is no HTTP header")
    return value
