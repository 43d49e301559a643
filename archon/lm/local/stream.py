"""Text out of tokens as they come: whole characters, and nothing that a stop string may eat."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from archon.lm.local.tokenizer import TextTokenizer


class TextStream:
    """The growing text of one draw.

    Parameters
    ----------
    stop : the text ends before the first of these strings.
    """

    def __init__(self, tokenizer: TextTokenizer, stop: Sequence[str]) -> None:
        self._tokenizer, self._stop = tokenizer, tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._longest = max(map(len, self._stop), default=0)
        self._sent = 0
        self.text = ""
        self.stopped = False

    def feed(self, token: int) -> str:
        """Take a token; returns text that is now sure. ``stopped`` tells of a stop string."""
        return self._grow(self._decoder.decode(self._tokenizer.token_bytes(token)))

    def finish(self) -> str:
        """The end: returns what was held back."""
        delta = "" if self.stopped else self._grow(self._decoder.decode(b"", final=True))
        rest, self._sent = self.text[self._sent :], len(self.text)
        return delta + rest

    def _grow(self, piece: str) -> str:
        seen = max(0, len(self.text) - self._longest + 1)
        self.text += piece
        found = [at for at in (self.text.find(stop, seen) for stop in self._stop) if at >= 0]
        if found:
            self.stopped = True
            self.text = self.text[: min(found)]
        safe = len(self.text) - (0 if self.stopped else self._held_back())
        delta, self._sent = self.text[self._sent : safe], max(self._sent, safe)
        return delta

    def _held_back(self) -> int:
        """Length of the longest end of the text that a stop string may begin with."""
        for length in range(min(self._longest - 1, len(self.text)), 0, -1):
            if any(stop.startswith(self.text[-length:]) for stop in self._stop):
                return length
        return 0
