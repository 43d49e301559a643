"""Warnings that are logged only once per process."""

from __future__ import annotations

import logging
from functools import cache

_log = logging.getLogger("archon")


@cache
def warn_once(text: str) -> None:
    """Log a warning, unless this process has logged the same text before."""
    _log.warning(text)
