"""API keys: named by an environment variable, never written down."""

from __future__ import annotations

import os

from archon.errors import UsageError


def key_from(variable: str) -> str:
    """The key that an environment variable holds.

    Raises
    ------
    UsageError : the variable is not set, or holds what no key can be.
    """
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UsageError(f"the environment variable {variable} is not set; it must hold the key")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UsageError(f"the environment variable {variable} holds characters that no key has")
    return key
