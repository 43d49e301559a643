"""Decode tokens incrementally, separate the reasoning, and detect stop strings."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence

from archon.lm.local.tokenizer import TextTokenizer
from archon.reasoning import Part, ReasoningMarkers, ReasoningStream


class Detokenizer:
    """Incrementally decodes one sample's tokens.

    Parameters
    ----------
    stop
        Stop strings. The answer ends before the first of them. Reasoning may contain them.
    markers
        Markers around reasoning.
    is_open
        True if the sample begins within reasoning.
    token_bytes
        Function that returns the bytes of a token. The default is the tokenizer's function.
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
        """Position in ``text`` after the last reasoning so far. The answer begins there."""
        self.text = ""
        """The complete text so far, including reasoning."""
        self.stopped = False

    def feed(self, token: int) -> list[Part]:
        """Add a token, and return the new text, up to where a later token could still change it.

        ``stopped`` is set if the text contains a stop string.
        """
        return self._take(self._reasoning.feed(self._decoder.decode(self._token_bytes(token))))

    def finish(self) -> list[Part]:
        """End the text, and return the text that ``feed`` has not returned yet."""
        parts: list[Part] = []
        if not self.stopped:
            rest = self._decoder.decode(b"", final=True)
            parts += self._take([*self._reasoning.feed(rest), *self._reasoning.finish()])
        rest, self._sent = self.text[self._sent :], len(self.text)
        return [*parts, Part(rest, is_reasoning=False)] if rest else parts

    def _take(self, parts: Sequence[Part]) -> list[Part]:
        final: list[Part] = []
        for part in parts:
            if self.stopped:
                break
            if part.is_reasoning:
                rest = self.text[self._sent :]  # reasoning follows, so no stop string begins here
                final += [Part(rest, is_reasoning=False)] if rest else []
                self.text += part.text
                self._sent = self._answer_start = len(self.text)
                final.append(part)
            elif delta := self._grow(part.text):
                final.append(Part(delta, is_reasoning=False))
        return final

    def _grow(self, piece: str) -> str:
        seen = max(self._answer_start, len(self.text) - self._longest + 1)
        self.text += piece
        found = [at for at in (self.text.find(stop, seen) for stop in self._stop) if at >= 0]
        if found:
            self.stopped = True
            self.text = self.text[: min(found)]
        safe = len(self.text) - (0 if self.stopped else self._possible_stop_length())
        delta, self._sent = self.text[self._sent : safe], max(self._sent, safe)
        return delta

    def _possible_stop_length(self) -> int:
        """Return the length of the answer's longest suffix that is a prefix of a stop string."""
        longest = min(self._longest - 1, len(self.text) - self._answer_start)
        for length in range(longest, 0, -1):
            if any(stop.startswith(self.text[-length:]) for stop in self._stop):
                return length
        return 0
