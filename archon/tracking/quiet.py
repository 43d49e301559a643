"""Keep what trackers print away from standard output, where only results belong."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

_log = logging.getLogger("archon.tracking")
_lock = threading.Lock()
_quiet: set[int] = set()
"""Identifiers of the threads whose output is logged instead of printed."""


class _ByThread:
    """Standard output for all threads except the quiet ones."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        if threading.get_ident() not in _quiet:
            return self.stream.write(text)
        if text.strip():
            _log.info("%s", text.strip())
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def quiet_thread() -> Iterator[None]:
    """Log what this thread prints, at level info; other threads are not affected."""
    thread = threading.get_ident()
    with _lock:
        _quiet.add(thread)
        if not isinstance(sys.stdout, _ByThread):
            sys.stdout = cast(TextIO, _ByThread(sys.stdout))
    try:
        yield
    finally:
        with _lock:
            _quiet.discard(thread)
            if not _quiet and isinstance(sys.stdout, _ByThread):
                sys.stdout = sys.stdout.stream
