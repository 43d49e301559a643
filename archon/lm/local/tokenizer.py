"""Text ↔ token ids: byte-level byte-pair encoding (Sennrich et al. 2016).

Text is cut into pieces by a rule of the model's, each piece's bytes are written as printable
letters, and neighbouring letters are merged, most frequent pairs first, into the tokens of the
vocabulary. Some tokens are no text: *control* tokens such as the end of a turn. They are made only
where a template is trusted to make them, never from what a message says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property

from archon.lm.local.text import TextRules

LONG_TEXT = 50_000
"""Characters; more of them take tens of milliseconds, and an event loop should not wait for it."""


class TextTokenizer:
    """Text ↔ token ids by the rules of one model."""

    def __init__(self, rules: TextRules) -> None:
        self.tokens = rules.tokens
        self.special_ids = rules.special_ids
        self.control_ids, self.stop_ids = rules.control_ids, rules.stop_ids
        self.no_text_ids = rules.no_text_ids
        self._bpe = rules.bpe
        self._written_out = frozenset(rules.special_ids.values()) - rules.control_ids

    def encode(self, text: str) -> list[int]:
        """Text → ids, with no special tokens, whatever the text says."""
        if len(text) > LONG_TEXT:  # a batch lets other threads run, which a single text does not
            [encoded] = self._bpe.encode_batch([text], add_special_tokens=False)
        else:
            encoded = self._bpe.encode(text, add_special_tokens=False)
        ids: list[int] = encoded.ids
        return ids

    def encode_template(self, rendered: str, guard: str = "") -> list[int]:
        """Rendered template → ids: special tokens where they are written out.

        ``guard`` is a character that keeps a special token's name from being one; it is dropped.
        """
        ids: list[int] = []
        for part in self._special_pattern.split(rendered):
            if part in self.special_ids:
                ids.append(self.special_ids[part])
            elif part:
                ids += self.encode(part.replace(guard, "") if guard else part)
        return ids

    def token_bytes(self, token: int) -> bytes:
        """The bytes that a token stands for; none for control tokens, and for ids of no token."""
        if token in self.control_ids or token >= len(self.tokens):
            return b""
        text = self.tokens[token]
        if token in self._written_out:
            return text.encode()
        try:
            return bytes(_BYTE_OF_LETTER[letter] for letter in text)
        except KeyError:
            return text.encode()

    def decode(self, token_ids: Iterable[int]) -> str:
        """Ids → text; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(map(self.token_bytes, token_ids)).decode("utf-8", "replace")

    @cached_property
    def _special_names(self) -> str:
        """A pattern of the names that a template's output is searched for."""
        names = sorted((n for n in self.special_ids if len(n) > 1), key=len, reverse=True)
        return "|".join(map(re.escape, names)) or "(?!)"

    @cached_property
    def _special_pattern(self) -> re.Pattern[str]:
        return re.compile(f"({self._special_names})")

    @cached_property
    def _special_start(self) -> re.Pattern[str]:
        return re.compile(f"(?={self._special_names}).", re.DOTALL)

    def guarded(self, content: str, guard: str) -> str:
        """Content in which the guard stands behind the first letter of special tokens' names."""
        return self._special_start.sub(lambda letter: letter[0] + guard, content)


def _byte_letters() -> dict[str, int]:
    """GPT-2's map of the 256 bytes to printable letters, the other way round.

    Bytes that print stand for themselves; the others take the letters from U+0100 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTE_OF_LETTER = _byte_letters()
