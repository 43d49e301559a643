"""Text out of tokens as they come: whole characters, reasoning apart from the answer, and nothing
that a stop string may eat."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence

from archon.lm.local.tokenizer import TextTokenizer
from archon.reasoning import Part, ReasoningMarkers, ReasoningStream


class TextStream:
    """The growing text of one draw.

    Parameters
    ----------
    stop : the answer ends before the first of these strings; reasoning may hold them.
    markers : around its reasoning.
    is_open : the draw begins within reasoning.
    token_bytes : the bytes of a token; by default the tokenizer's.
    """

    def __init__(
        self,
        tokenizer: TextTokenizer,
        stop: Sequence[str],
        markers: Sequence[ReasoningMarkers] = (),
        *,
        is_open: bool = False,
        token_bytes: Callable[[int], bytes] | None = None,
    ) -> None:
        self._token_bytes = token_bytes or tokenizer.token_bytes
        self._stop = tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._reasoning = ReasoningStream(markers, is_open=is_open)
        self._longest = max(map(len, self._stop), default=0)
        self._sent = 0
        self._answer_start = 0
        """Where in the text the answer began, as far as is known."""
        self.text = ""
        """All of it, reasoning included."""
        self.stopped = False

    def feed(self, token: int) -> list[Part]:
        """Take a token; returns text that is now sure. ``stopped`` tells of a stop string."""
        return self._take(self._reasoning.feed(self._decoder.decode(self._token_bytes(token))))

    def finish(self) -> list[Part]:
        """The end: returns what was held back."""
        parts: list[Part] = []
        if not self.stopped:
            rest = self._decoder.decode(b"", final=True)
            parts += self._take([*self._reasoning.feed(rest), *self._reasoning.finish()])
        rest, self._sent = self.text[self._sent :], len(self.text)
        return [*parts, Part(rest, is_reasoning=False)] if rest else parts

    def _take(self, parts: Sequence[Part]) -> list[Part]:
        sure: list[Part] = []
        for part in parts:
            if self.stopped:
                break
            if part.is_reasoning:
                rest = self.text[self._sent :]  # of an answer, which cannot become a stop string
                sure += [Part(rest, is_reasoning=False)] if rest else []
                self.text += part.text
                self._sent = self._answer_start = len(self.text)
                sure.append(part)
            elif delta := self._grow(part.text):
                sure.append(Part(delta, is_reasoning=False))
        return sure

    def _grow(self, piece: str) -> str:
        seen = max(self._answer_start, len(self.text) - self._longest + 1)
        self.text += piece
        found = [at for at in (self.text.find(stop, seen) for stop in self._stop) if at >= 0]
        if found:
            self.stopped = True
            self.text = self.text[: min(found)]
        safe = len(self.text) - (0 if self.stopped else self._held_back())
        delta, self._sent = self.text[self._sent : safe], max(self._sent, safe)
        return delta

    def _held_back(self) -> int:
        """Length of the longest end of the answer that a stop string may begin with."""
        longest = min(self._longest - 1, len(self.text) - self._answer_start)
        for length in range(longest, 0, -1):
            if any(stop.startswith(self.text[-length:]) for stop in self._stop):
                return length
        return 0
