"""Server-sent events: written by our server, read from others'."""

from __future__ import annotations

DONE = b"[DONE]"
"""The data of the event that ends a streamed chat completion."""


def encode_event(data: bytes) -> bytes:
    """One event; the data must be a single line."""
    return b"data: " + data + b"\n\n"


class EventParser:
    """Puts events together from a byte stream that may be cut anywhere."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # of the line that has not ended yet
        self._data: list[bytes] = []  # of the event that has not ended yet

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of every event that ends within the chunk."""
        if b"\n" not in chunk:
            self._pieces.append(chunk)
            return []
        *lines, rest = b"".join([*self._pieces, chunk]).split(b"\n")
        self._pieces = [rest]
        events = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                events.append(b"\n".join(self._data))
                self._data = []
        return events

    def end(self) -> list[bytes]:
        """The event that the stream's end cut off from its blank line, if there is one."""
        return self.feed(b"\n\n")
