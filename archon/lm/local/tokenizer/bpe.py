"""Byte-level byte-pair encoding (Sennrich et al. 2016).

1. *Added* tokens are matched by their text (``added_tokens``).
2. The text between them is split into pieces by the model's pre-tokenizer.
3. The bytes of each piece are mapped to printable letters, and neighbouring letters are merged into
   tokens, in the order of the model's list of merges.

Added tokens that are not text, such as the end of a turn, are *control* tokens. Only the chat
template produces them, never the content of a message (``archon.lm.local.content_mask``).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from archon.lm.local.tokenizer.added_tokens import AddedTokenFinder, AddedTokenMatch
from archon.lm.local.tokenizer.config import TokenizerConfig

LONG_TEXT = 50_000
"""Text length in characters above which encoding is slow, so it runs in a thread.
"""


class TextTokenizer:
    """Tokenizer of one model, which encodes text to token ids and decodes them."""

    def __init__(self, config: TokenizerConfig) -> None:
        self.tokens = config.tokens
        self.special_ids = config.special_ids
        self.control_ids, self.stop_ids = config.control_ids, config.stop_ids
        self.no_text_ids = config.no_text_ids
        self._bpe, self._added = config.bpe, config.added_tokens
        self._plain_ids = frozenset(config.special_ids.values()) - config.control_ids

    def encode(self, text: str) -> list[int]:
        """Encode text. The name of a control token is encoded as ordinary text.

        Other added tokens are matched.
        """
        ids, at = list[int](), 0
        for match in self._words.find(text):
            ids += self.encode_pieces(text[at : match.start])
            ids.append(match.token.id)
            at = match.end
        return ids + self.encode_pieces(text[at:])

    def encode_pieces(self, text: str) -> list[int]:
        """Encode text with byte-pair encoding only, without matching added tokens."""
        if not text:
            return []
        if len(text) > LONG_TEXT:  # unlike a single text, a batch lets other threads run
            [encoded] = self._bpe.encode_batch([text], add_special_tokens=False)
        else:
            encoded = self._bpe.encode(text, add_special_tokens=False)
        ids: list[int] = encoded.ids
        return ids

    def encode_template(self, rendered: str, masked: str | None = None) -> list[int]:
        """Encode a rendered template, including control tokens.

        Parameters
        ----------
        masked
            The same text, with message content replaced with a mask of equal length. Control tokens
            are then found only in the template's own text. By default, they are found everywhere in
            ``rendered``.
        """
        ids, at = list[int](), 0
        for match in self.control_matches(rendered if masked is None else masked):
            ids += self.encode(rendered[at : match.start])
            ids.append(match.token.id)
            at = match.end
        return ids + self.encode(rendered[at:])

    def control_matches(self, text: str) -> list[AddedTokenMatch]:
        """Return the control tokens in a text, from left to right."""
        return [
            match
            for match in self._words_and_controls.find(text)
            if match.token.is_control
            # Exclude matches that only normalization produces from other characters.
            and text[match.start : match.end].strip() == match.token.text.strip()
        ]

    @cached_property
    def control_names(self) -> list[str]:
        """The text of each control token."""
        return [token.text for token in self._added if token.is_control and token.text]

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes of a token; ``b""`` for a control token or an unknown id."""
        if token in self.control_ids or token >= len(self.tokens):
            return b""
        text = self.tokens[token]
        if token in self._plain_ids:
            return text.encode()
        try:
            return bytes(_BYTE_OF_LETTER[letter] for letter in text)
        except KeyError:
            return text.encode()

    def decode(self, token_ids: Iterable[int]) -> str:
        """Decode token ids to text, with U+FFFD for invalid UTF-8."""
        return b"".join(map(self.token_bytes, token_ids)).decode("utf-8", "replace")

    @cached_property
    def _words(self) -> AddedTokenFinder:
        words = [token for token in self._added if not token.is_control]
        return AddedTokenFinder(words, self._bpe.normalizer)

    @cached_property
    def _words_and_controls(self) -> AddedTokenFinder:
        return AddedTokenFinder(self._added, self._bpe.normalizer)


def _byte_letters() -> dict[str, int]:
    """Return the inverse of GPT-2's mapping from the 256 bytes to printable letters.

    GPT-2 maps printable bytes to themselves, and other bytes to letters from U+0100 upwards.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTE_OF_LETTER = _byte_letters()
