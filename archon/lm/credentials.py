"""Read API keys and secret headers from environment variables. They are never stored or printed."""

from __future__ import annotations

import os

from archon.errors import UsageError
from archon.spec.secrets import check_variable


def key_from(variable: str) -> str:
    """Read an API key from an environment variable.

    Raises
    ------
    UsageError
        ``variable`` is not a valid name, perhaps because it is the key itself. Or the variable is
        not set, or its value cannot be an API key.
    """
    try:
        check_variable(variable)
    except ValueError as error:
        raise UsageError(f"the value for the API key's variable {error}") from None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UsageError(f"the environment variable {variable} is not set; set it to the API key")
    if not (key.isascii() and key.isprintable()) or " " in key:
        reason = f"the value of the environment variable {variable} is not an API key"
        raise UsageError(
            f"{reason}: it must contain only printable ASCII characters, without spaces"
        )
    return key


def header_from(variable: str) -> str:
    """Read the value of an HTTP header, which may contain spaces, from an environment variable.

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
        reason = f"the value of the environment variable {variable} is not valid in an HTTP header"
        raise UsageError(f"{reason}: it must contain only printable ASCII characters")
    return value
