"""Vocabularies of SentencePiece and WordPiece, as the contents of a ``tokenizer.json``.

SentencePiece (Kudo and Richardson 2018, arXiv 1808.06226) has two kinds of vocabularies of pieces
with scores. With *BPE*, neighbouring pieces are merged into the piece with the highest score. With
*unigram* (Kudo 2018, arXiv 1804.10959), a text is split so that the sum of its scores is the
highest. GGUF files call the two "llama" and "t5".

The ``tokenizers`` library has no scores for BPE. It gets the list of all pairs of pieces that form
a piece, in the order of the scores, as transformers converts such files.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal

from archon.lm.local.tokenizer.spelling import SPACE, byte_token

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Types of pieces, in SentencePiece's files and in GGUF's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentencePieces:
    """A vocabulary of SentencePiece."""

    kind: Literal["bpe", "unigram"]
    pieces: Sequence[str]
    scores: Sequence[float]
    types: Sequence[int]
    unknown_id: int
    adds_space: bool
    """A space is put before a text."""
    removes_spaces: bool = False
    """Spaces at both ends are removed, and several in a row become one."""
    character_map: bytes = b""
    """Normalization of characters, in SentencePiece's binary format."""
    scheme: Literal["prepend", "always", "first"] = "prepend"
    """Which parts of a text, between added tokens, get the space: all of them ("prepend"); those
    without a space in front ("always"); or the start of the text, if it has none ("first")."""


def tokenizer_json(vocabulary: SentencePieces) -> dict[str, Any]:
    """Return the contents of a ``tokenizer.json`` for a vocabulary.

    Added tokens are the caller's part.
    """
    v = vocabulary
    normalizers: list[dict[str, Any]] = []
    if v.character_map:
        encoded = base64.b64encode(v.character_map).decode()
        normalizers.append({"type": "Precompiled", "precompiled_charsmap": encoded})
    if v.removes_spaces:
        normalizers.append({"type": "Strip", "strip_left": True, "strip_right": True})
        normalizers.append(_replacement({"Regex": " {2,}"}, " "))
    splits = v.kind == "unigram"
    metaspace = splits or v.scheme != "prepend"
    if not metaspace:
        if v.adds_space:
            normalizers.append({"type": "Prepend", "prepend": SPACE})
        normalizers.append(_replacement({"String": " "}, SPACE))
    scheme = "first" if v.scheme == "first" else "always"
    pre_tokenizer = {
        "type": "Metaspace", "replacement": SPACE, "split": splits,
        "prepend_scheme": scheme if v.adds_space else "never",
    }  # fmt: skip
    return {
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": pre_tokenizer if metaspace else None,
        "model": _unigram(v) if v.kind == "unigram" else _bpe(v),
        "decoder": _decoder(v.adds_space),
    }


def word_pieces_json(
    tokens: Sequence[str], unknown: str, *, lowercase: bool, strip_accents: bool
) -> dict[str, Any]:
    """Return the contents of a ``tokenizer.json`` for a WordPiece vocabulary.

    Parameters
    ----------
    tokens
        Tokens by id; those that continue a word begin with "##".
    unknown
        Token of words that have no tokens.
    """
    return {
        "normalizer": {
            "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
            "strip_accents": strip_accents, "lowercase": lowercase,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {
            "type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": {token: i for i, token in enumerate(tokens)},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": False},
    }  # fmt: skip


def _bpe(v: SentencePieces) -> dict[str, Any]:
    vocabulary = {piece: i for i, piece in enumerate(v.pieces)}
    return {
        "type": "BPE", "vocab": vocabulary, "merges": _merges(v),
        "unk_token": v.pieces[v.unknown_id], "fuse_unk": True, "byte_fallback": _has_bytes(v),
        "continuing_subword_prefix": None, "end_of_word_suffix": None, "dropout": None,
        "ignore_merges": False,
    }  # fmt: skip


def _unigram(v: SentencePieces) -> dict[str, Any]:
    vocabulary = [[piece, score] for piece, score in zip(v.pieces, v.scores, strict=True)]
    return {
        "type": "Unigram", "vocab": vocabulary, "unk_id": v.unknown_id,
        "byte_fallback": _has_bytes(v),
    }  # fmt: skip


def _merges(v: SentencePieces) -> list[tuple[str, str]]:
    """Return the pairs of pieces that form a piece, those of the highest score first."""
    text = {
        piece for piece, kind in zip(v.pieces, v.types, strict=True)
        if kind not in (CONTROL, UNKNOWN, BYTE)
    }  # fmt: skip
    found: list[tuple[float, int, int, str]] = []
    for piece, score in zip(v.pieces, v.scores, strict=True):
        if piece in text:
            found += [
                (score, at, len(piece) - at, piece)
                for at in range(1, len(piece))
                if piece[:at] in text and piece[at:] in text
            ]
    # As in transformers, a longer left part comes first among equal scores.
    found.sort(key=itemgetter(0, 1, 2), reverse=True)
    return [(piece[:at], piece[at:]) for _, at, _, piece in found]


def _has_bytes(v: SentencePieces) -> bool:
    return byte_token(0) in v.pieces


def _replacement(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def _decoder(adds_space: bool) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [
        _replacement({"String": SPACE}, " "),
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if adds_space:
        parts.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {"type": "Sequence", "decoders": parts}
