"""Added tokens: strings that a tokenizer matches before it splits the remaining text into pieces.

Some added tokens are *control* tokens, such as ``<|im_end|>``, which marks the end of a turn. The
other added tokens, such as ``<think>``, are ordinary text.
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
    """Return True if a token has the spelling of a control token in a published model.

    Some model files declare turn markers as ordinary text. They are control tokens nevertheless,
    because a message that contains a turn marker must not end its turn.

    >>> is_marker("<|im_start|>"), is_marker("<think>")
    (True, False)
    """
    return _MARKER.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class AddedToken:
    """An added token, with the flags of the ``tokenizers`` library."""

    text: str
    id: int
    is_control: bool
    """Whether the token is not text. The library calls it *special*."""
    lstrip: bool = False
    """Whether a match includes the white space before the token."""
    rstrip: bool = False
    """Whether a match includes the white space after the token."""
    single_word: bool = False
    """Whether the token is matched only as a whole word."""
    normalized: bool = False
    """Whether the token is matched in the normalized text instead of the original."""


@dataclass(frozen=True, slots=True)
class AddedTokenMatch:
    """An added token found in a text.

    The match is ``text[start:end]``, which may include white space around the token.
    """

    token: AddedToken
    start: int
    end: int


class AddedTokenFinder:
    """Finds added tokens in texts, by the rules of the ``tokenizers`` library."""

    def __init__(self, tokens: Sequence[AddedToken], normalizer: Normalizer | None) -> None:
        by_text = {token.text: token for token in tokens if token.text}
        # The only ordinary token is the unknown token (id 0), so other ids are added tokens.
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
        """Yield the added tokens in a text, from left to right."""
        if not self._may_occur.search(text):
            return
        found = self._search.encode(text, add_special_tokens=False)
        for id_, (start, end) in zip(found.ids, found.offsets, strict=True):
            if id_ != 0:
                yield AddedTokenMatch(self._by_id[id_], start, end)
