"""Added tokens: words that a tokenizer finds in a text before it splits the rest into pieces.

Some of them are *control* tokens, such as the end of a turn; the others are ordinary words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tokenizers import AddedToken as LibraryToken
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Normalizer

_MARKER = re.compile(
    r"<\|.*\|>|<｜.*｜>|</?s>|<(?:unk|pad|mask|bos|eos)>|\[/?INST\]|<(?:start|end)_of_turn>",
    re.DOTALL,
)


def is_marker(text: str) -> bool:
    """Return True if a token looks like the control tokens of published vocabularies.

    Some files declare the markers of turns as ordinary words; even so, a message that contains one
    must not end its turn.

    >>> is_marker("<|im_start|>"), is_marker("<think>")
    (True, False)
    """
    return _MARKER.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class AddedToken:
    """One added token, with the flags of the ``tokenizers`` library."""

    text: str
    id: int
    is_control: bool
    """It is not text; the library calls it special."""
    lstrip: bool = False
    """It includes the white space before it."""
    rstrip: bool = False
    """It includes the white space after it."""
    single_word: bool = False
    """It does not match inside a longer word."""
    normalized: bool = False
    """It is matched in the normalized text."""


@dataclass(frozen=True, slots=True)
class AddedTokenMatch:
    """A token found in a text from ``start`` to ``end``, with the white space that it includes."""

    token: AddedToken
    start: int
    end: int


class AddedTokenFinder:
    """Finds added tokens in a text as the ``tokenizers`` library does."""

    def __init__(self, tokens: Sequence[AddedToken], normalizer: Normalizer | None) -> None:
        by_text = {token.text: token for token in tokens if token.text}
        # With a single, unknown word as vocabulary, the library only searches for added tokens.
        self._search = Tokenizer(WordLevel({"": 0}, unk_token=""))
        if normalizer is not None and any(token.normalized for token in tokens):
            self._search.normalizer = normalizer
            self._may_occur = re.compile("")
        else:
            names = sorted(by_text, key=len, reverse=True)
            self._may_occur = re.compile("|".join(map(re.escape, names)) or "(?!)")
        self._search.add_tokens(
            [
                LibraryToken(
                    token.text,
                    lstrip=token.lstrip,
                    rstrip=token.rstrip,
                    single_word=token.single_word,
                    normalized=token.normalized,
                )
                for token in by_text.values()
            ]
        )
        self._by_id = {self._search.token_to_id(text): token for text, token in by_text.items()}

    def find(self, text: str) -> Iterator[AddedTokenMatch]:
        """Find the tokens in a text, from left to right."""
        if not self._may_occur.search(text):
            return
        found = self._search.encode(text, add_special_tokens=False)
        for id_, (start, end) in zip(found.ids, found.offsets, strict=True):
            if id_ != 0:
                yield AddedTokenMatch(self._by_id[id_], start, end)
