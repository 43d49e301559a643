"""Text ↔ token ids: byte-level byte-pair encoding (Sennrich et al. 2016).

Text is cut into pieces by a rule of the model's, each piece's bytes are written as printable
letters, and neighbouring letters are merged, most frequent pairs first, into the tokens of the
vocabulary. Before that, *added* tokens are found by their names (``added_tokens.py``). Those among
them that are no text are *control* tokens, such as the end of a turn: they are made only where a
template writes them, never from what a message says (``content_mask.py``).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from archon.lm.local.added_tokens import AddedTokenFinder, Match
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
        self._bpe, self._added = rules.bpe, rules.added_tokens
        self._written_out = frozenset(rules.special_ids.values()) - rules.control_ids

    def encode(self, text: str) -> list[int]:
        """Text → ids, added words included; a control token's name is text like any other."""
        ids, at = list[int](), 0
        for match in self._words.find(text):
            ids += self.encode_pieces(text[at : match.start])
            ids.append(match.token.id)
            at = match.end
        return ids + self.encode_pieces(text[at:])

    def encode_pieces(self, text: str) -> list[int]:
        """Text → ids of the ordinary vocabulary, with no added token, whatever the text says."""
        if not text:
            return []
        if len(text) > LONG_TEXT:  # a batch lets other threads run, which a single text does not
            [encoded] = self._bpe.encode_batch([text], add_special_tokens=False)
        else:
            encoded = self._bpe.encode(text, add_special_tokens=False)
        ids: list[int] = encoded.ids
        return ids

    def encode_template(self, rendered: str, masked: str | None = None) -> list[int]:
        """A rendered template → ids, control tokens included.

        Parameters
        ----------
        masked : the same text, so altered where it is not the template's own text that control
            tokens are found in the template's alone. By default all of it is the template's.
        """
        ids, at = list[int](), 0
        for match in self.control_matches(rendered if masked is None else masked):
            ids += self.encode(rendered[at : match.start])
            ids.append(match.token.id)
            at = match.end
        return ids + self.encode(rendered[at:])

    def control_matches(self, text: str) -> list[Match]:
        """The control tokens that occur in a text."""
        return [
            match
            for match in self._words_and_controls.find(text)
            if match.token.is_control
            # Normalizing other characters must not make one.
            and text[match.start : match.end].strip() == match.token.text.strip()
        ]

    @cached_property
    def control_names(self) -> list[str]:
        """The control tokens as they are written."""
        return [token.text for token in self._added if token.is_control and token.text]

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
    def _words(self) -> AddedTokenFinder:
        words = [token for token in self._added if not token.is_control]
        return AddedTokenFinder(words, self._bpe.normalizer)

    @cached_property
    def _words_and_controls(self) -> AddedTokenFinder:
        return AddedTokenFinder(self._added, self._bpe.normalizer)


def _byte_letters() -> dict[str, int]:
    """GPT-2's map of the 256 bytes to printable letters, the other way round.

    Bytes that print stand for themselves; the others take the letters from U+0100 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTE_OF_LETTER = _byte_letters()
