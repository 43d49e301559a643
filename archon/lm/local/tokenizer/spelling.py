"""Spelling of tokens in vocabularies: the text of a token → its bytes.

- *Byte letters* (GPT-2 and most families since): each byte is a printable letter, so that "Ġthe" is
  " the".
- *SentencePiece* (Llama 2, Gemma, T5): "▁" is a space, and "<0x0A>" is a byte.
- *WordPiece* (BERT): "##ing" continues a word, and "the" begins one.
- Vocabularies that mark the end of a word, such as "the</w>" (GPT).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

Spelling = Callable[[str], bytes]
SPACE = "▁"
"""SentencePiece's letter for a space: U+2581."""
_BYTE_TOKEN = re.compile("<0x([0-9A-F]{2})>")


def spelled_in_letters(token: str) -> bytes:
    """Return the bytes of a token in byte letters; a token in other letters is text."""
    try:
        return bytes(_BYTE_OF_LETTER[letter] for letter in token)
    except KeyError:
        return token.encode()


def in_letters(token: bytes) -> str:
    """Return the spelling of bytes in byte letters.

    >>> in_letters(b" the")
    'Ġthe'
    """
    return "".join(_LETTER_OF_BYTE[byte] for byte in token)


def spelled_by_sentencepiece(token: str) -> bytes:
    """Return the bytes of a token of SentencePiece."""
    byte = _BYTE_TOKEN.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else token.replace(SPACE, " ").encode()


def spelled_by_words(prefix: str, suffix: str = "") -> Spelling:
    """Return the spelling of a vocabulary that marks the parts of words.

    Parameters
    ----------
    prefix
        Of a token that continues a word, such as "##". A token without it begins a word.
    suffix
        Of a token that ends a word, such as "</w>", if there is no such prefix.
    """
    return partial(_spelled_by_words, prefix, suffix)


def spelled_as_text(token: str) -> bytes:
    """Return the bytes of a token that is text."""
    return token.encode()


def byte_token(byte: int) -> str:
    """Return SentencePiece's token of a byte.

    >>> byte_token(10)
    '<0x0A>'
    """
    return f"<0x{byte:02X}>"


def is_byte_token(token: str) -> bool:
    """Return True if a token is SentencePiece's token of a byte."""
    return _BYTE_TOKEN.fullmatch(token) is not None


def _spelled_by_words(prefix: str, suffix: str, token: str) -> bytes:
    if suffix:
        return (token.removesuffix(suffix) + " " * token.endswith(suffix)).encode()
    return (token.removeprefix(prefix) if token.startswith(prefix) else f" {token}").encode()


def _byte_letters() -> dict[str, int]:
    """Return the inverse of GPT-2's map from the 256 bytes to printable letters.

    GPT-2 maps printable bytes to themselves, and the others to the letters from U+0100.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTE_OF_LETTER = _byte_letters()
_LETTER_OF_BYTE = {byte: letter for letter, byte in _BYTE_OF_LETTER.items()}
