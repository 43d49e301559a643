"""Reader of ``tokenizer.model``, a vocabulary in SentencePiece's own format.

The file is a message of Protocol Buffers: a sequence of fields, each with a number, a type and a
value. Only the fields that affect encoding are read.

Format: ``sentencepiece_model.proto`` of https://github.com/google/sentencepiece
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from archon.errors import ModelFileError
from archon.lm.local.tokenizer.sentencepiece import NORMAL, SentencePieces

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_KINDS: dict[int, Literal["unigram", "bpe"]] = {1: "unigram", 2: "bpe"}
Value = int | bytes


def read_sentencepiece_file(path: Path, scheme: Literal["always", "first"]) -> SentencePieces:
    """Read a ``tokenizer.model``.

    Parameters
    ----------
    scheme
        Parts of a text that get a space in front, if the vocabulary adds any.

    Raises
    ------
    ModelFileError
        The file cannot be read, or is not such a vocabulary.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error}") from None
    try:
        return _vocabulary(data, scheme)
    except (ValueError, IndexError, struct.error, TypeError) as error:
        raise ModelFileError(
            f"{path}: is not a vocabulary of SentencePiece ({error}). Add the tokenizer.json of "
            "the model to the folder"
        ) from None


def _vocabulary(data: bytes, scheme: Literal["always", "first"]) -> SentencePieces:
    pieces: list[str] = []
    scores: list[float] = []
    types: list[int] = []
    trainer: dict[int, Value] = {}
    normalizer: dict[int, Value] = {}
    for number, value in _fields(data):
        if number == 1:
            piece = dict(_fields(_as_bytes(value)))
            pieces.append(_as_bytes(piece.get(1, b"")).decode())
            scores.append(_float(piece.get(2, 0)))
            types.append(_as_int(piece.get(3, NORMAL)))
        elif number == 2:
            trainer = dict(_fields(_as_bytes(value)))
        elif number == 3:
            normalizer = dict(_fields(_as_bytes(value)))
    if not pieces or len(set(pieces)) != len(pieces):
        raise ValueError("it has no pieces" if not pieces else "two pieces are equal")
    model, unknown = _as_int(trainer.get(3, 1)), _as_int(trainer.get(40, 0))
    if model not in _KINDS:
        raise ValueError("its pieces are whole words or characters, which is not supported")
    if unknown >= len(pieces):
        raise ValueError(f"its unknown piece {unknown} does not exist")
    return SentencePieces(
        kind=_KINDS[model],
        pieces=pieces,
        scores=scores,
        types=types,
        unknown_id=unknown,
        adds_space=bool(normalizer.get(3, True)),
        removes_spaces=bool(normalizer.get(4, True)),
        character_map=_as_bytes(normalizer.get(2, b"")),
        scheme=scheme,
    )


def _fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Yield number and value of each field of a message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        value: Value
        if kind == _VARINT:
            value, at = _varint(data, at)
        else:
            size = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(kind)
            if kind == _BYTES:
                size, at = _varint(data, at)
            if size is None or at + size > len(data):
                raise ValueError(f"damaged at byte {at}")
            value, at = data[at : at + size], at + size
        yield number, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number with seven bits per byte; return it and the position after it."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError(f"damaged at byte {at}")


def _as_bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError("a field has another type")
    return value


def _as_int(value: Value) -> int:
    if not isinstance(value, int):
        raise TypeError("a field has another type")
    return value


def _float(value: Value) -> float:
    return float(struct.unpack("<f", value)[0]) if isinstance(value, bytes) else 0.0
