"""Conversion between text and token ids.

1. *Added* tokens are matched by their text (``added_tokens``).
2. The text between them is split into pieces by the model's pre-tokenizer.
3. Each piece is encoded, mostly by byte-pair encoding (Sennrich et al. 2016, arXiv 1508.07909):
   neighbouring letters are merged into tokens, in the order of the model's list of merges
   (``pieces``).

Added tokens that are not text, such as the end of a turn, are *control* tokens. Only the chat
template produces them, never the content of a message (``archon.lm.local.content_mask``).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from archon.lm.local.tokenizer.added_tokens import AddedTokenFinder, AddedTokenMatch
from archon.lm.local.tokenizer.config import TokenizerConfig
from archon.lm.local.tokenizer.pieces import Position
from archon.lm.local.tokenizer.spelling import spelled_in_letters


class TextTokenizer:
    """Tokenizer of one model, which encodes text to token ids and decodes them."""

    def __init__(self, config: TokenizerConfig) -> None:
        self.tokens = config.tokens
        self.special_ids = config.special_ids
        self.control_ids, self.stop_ids = config.control_ids, config.stop_ids
        self.no_text_ids = config.no_text_ids
        self._pieces, self._added = config.pieces, config.added_tokens
        self._plain_ids = frozenset(config.special_ids.values()) - config.control_ids

    def encode(self, text: str) -> list[int]:
        """Encode a complete text; the name of a control token in it is encoded as ordinary text.

        Other added tokens are matched.
        """
        return self._encode(text, "start")

    def encode_continuation(self, text: str) -> list[int]:
        """Encode text that follows other text: it gets no space in front.

        Only some tokenizers put a space before a text; for the others this is ``encode``.
        """
        return self._encode(text, "after text")

    def encode_pieces(self, text: str) -> list[int]:
        """Encode text that follows other text, without matching added tokens."""
        return self._pieces.encode(text)

    def encode_template(
        self, rendered: str, masked: str | None = None, position: Position = "start"
    ) -> list[int]:
        """Encode a rendered template, including control tokens.

        Parameters
        ----------
        masked
            The same text, with the content of messages replaced by a mask of equal length, so that
            control tokens are found only in the template's own text. By default control tokens are
            found everywhere in ``rendered``.
        position
            Where the text stands.
        """
        ids, at = list[int](), 0
        for match in self.control_matches(rendered if masked is None else masked):
            ids += self._encode(rendered[at : match.start], position)
            ids.append(match.token.id)
            at, position = match.end, "after token"
        return ids + self._encode(rendered[at:], position)

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
        text, spelling = self.tokens[token], self._pieces.spelling
        # Added tokens are not written in byte letters.
        is_plain = token in self._plain_ids and spelling is spelled_in_letters
        return text.encode() if is_plain else spelling(text)

    def decode(self, token_ids: Iterable[int]) -> str:
        """Decode token ids to text, with U+FFFD for invalid UTF-8.

        A space that ``encode`` put before the text stays.
        """
        return b"".join(map(self.token_bytes, token_ids)).decode("utf-8", "replace")

    def _encode(self, text: str, position: Position) -> list[int]:
        ids, at = list[int](), 0
        for match in self._words.find(text):
            ids += self._pieces.encode(text[at : match.start], position)
            ids.append(match.token.id)
            at, position = match.end, "after token"
        return ids + self._pieces.encode(text[at:], position)

    @cached_property
    def _words(self) -> AddedTokenFinder:
        words = [token for token in self._added if not token.is_control]
        return AddedTokenFinder(words, self._pieces.normalizer)

    @cached_property
    def _words_and_controls(self) -> AddedTokenFinder:
        return AddedTokenFinder(self._added, self._pieces.normalizer)
