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
        The name is invalid, for example because it is a key; the variable is not set; or its value
        is not a key.
    """
    try:
        check_variable(variable)
    except ValueError as error:
        raise UsageError(f"the value for the API key's variable {error}") from None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UsageError(f"the environment variable {variable} is not set; set it to the key")
    if not (key.isascii() and key.isprintable()) or " " in key:
        reason = f"the environment variable {variable} is not a key"
        raise UsageError(f"{reason}: it contains spaces or characters other than printable ASCII")
    return key


def header_from(variable: str) -> str:
    """Read the value of an HTTP header from an environment variable; it may have spaces.

    Raises
    ------
    UsageError
        The variable is not set, or its value is not valid in a header.
    """
    value = os.environ.get(variable, "").strip()
    if not value:
        reason = f"the environment variable {variable} is not set"
        raise UsageError(f"{reason}; set it to the value of the header")
    if not (value.isascii() and value.isprintable()):
        reason = f"the environment variable {variable} is not the value of an HTTP header"
        raise UsageError(f"{reason}: it contains characters other than printable ASCII")
    return value
