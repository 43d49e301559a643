"""Encode server-sent events (for the server) and parse them (for clients)."""

from __future__ import annotations

DONE = b"[DONE]"
"""Data of the last event in a streamed completion."""


def encode_event(data: bytes) -> bytes:
    """Return the bytes of an event. Its data must be a single line."""
    return b"data: " + data + b"\n\n"


_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventParser:
    """Incrementally parses server-sent events.

    Events without data are skipped, and so are lines other than ``data:``, such as comments.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # of the line that has not ended yet
        self._data: list[bytes] = []  # of the event that has not ended yet
        self._is_first_line = True

    def feed(self, chunk: bytes) -> list[bytes]:
        """Parse the next chunk, and return the data of every event that it completes."""
        if b"\n" not in chunk:
            self._pieces.append(chunk)
            return []
        *lines, rest = b"".join([*self._pieces, chunk]).split(b"\n")
        self._pieces = [rest]
        events = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if self._is_first_line:
                line, self._is_first_line = line.removeprefix(_BYTE_ORDER_MARK), False
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                event, self._data = b"\n".join(self._data), []
                if event:
                    events.append(event)
        return events

    def end(self) -> list[bytes]:
        """Return the data of the last event if the stream ended without a blank line after it."""
        return self.feed(b"\n\n")
