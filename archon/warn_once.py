"""Log warnings only once per process."""

from __future__ import annotations

import logging
from functools import cache

_log = logging.getLogger("archon")


@cache
def warn_once(text: str) -> None:
    """Log a warning, unless this process has already logged the same text."""
    _log.warning(text)
