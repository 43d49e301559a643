"""Encoding of ordinary text, in which no added token is found, by the ``tokenizers`` library.

Some tokenizers put a space before a text, so that its first word is encoded like the others. Text
that continues other text must not get this space. ``PieceEncoder`` therefore has two tokenizers,
which share the vocabulary and differ in that space only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, Literal

from tokenizers import Tokenizer
from tokenizers.normalizers import Normalizer

from archon.lm.local.tokenizer.spelling import (
    SPACE,
    Spelling,
    spelled_as_text,
    spelled_by_sentencepiece,
    spelled_by_words,
    spelled_in_letters,
)

LONG_TEXT = 50_000
"""Length in characters above which encoding takes tens of milliseconds.

Longer texts are encoded without blocking the event loop."""

Prefix = Literal["none", "first", "every"]
"""Where a tokenizer puts a space: nowhere, before the text, or before each part of it that follows
an added token as well."""
Position = Literal["start", "after token", "after text"]
"""Where a part of a text stands: at its start, after an added token, or after other text."""


@dataclass(frozen=True, slots=True)
class PieceEncoder:
    """Encoder of ordinary text."""

    tokenizer: Tokenizer
    """The tokenizer as its files define it, without added tokens."""
    spelling: Spelling
    prefix: Prefix = "none"
    without_prefix: Tokenizer | None = None
    """The same without the space before a text; None if ``prefix`` is "none"."""

    @property
    def normalizer(self) -> Normalizer | None:
        """The normalizer of texts, if any."""
        found: Normalizer | None = self.tokenizer.normalizer
        return found

    def encode(self, text: str, position: Position = "after text") -> list[int]:
        """Encode a part of a text that contains no added tokens."""
        if not text:
            return []
        tokenizer = self.tokenizer
        if self.without_prefix is not None and not self._has_prefix(position):
            tokenizer = self.without_prefix
        if len(text) > LONG_TEXT:  # unlike a single text, a batch lets other threads run
            [encoded] = tokenizer.encode_batch([text], add_special_tokens=False)
        else:
            encoded = tokenizer.encode(text, add_special_tokens=False)
        ids: list[int] = encoded.ids
        return ids

    def _has_prefix(self, position: Position) -> bool:
        return position == "start" or (position == "after token" and self.prefix == "every")


def encoder_of(stated: Mapping[str, Any], control: Set[str]) -> PieceEncoder:
    """Build the encoder of ordinary text from the contents of ``tokenizer.json``.

    Parameters
    ----------
    stated
        The contents; merges are pairs, and each yields a token of the vocabulary.
    control
        Tokens that text must not produce.

    Raises
    ------
    ValueError
        The library does not accept the tokenizer.
    """
    model = _without(control, stated["model"], _is_bytewise(stated))
    normalizer, pre_tokenizer = stated.get("normalizer"), stated.get("pre_tokenizer")
    plain = {"version": "1.0", "added_tokens": [], "model": model}
    parts = {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer}
    try:
        # Archon decodes by itself; the decoder is for files that are written from this tokenizer.
        decoder = {"decoder": stated.get("decoder")}
        tokenizer = Tokenizer.from_str(json.dumps(plain | parts | decoder))
    except Exception as error:  # the library has no narrower type
        raise ValueError(str(error)) from None
    prefix = _prefix_of(normalizer, pre_tokenizer)
    inside = None
    if prefix != "none":
        inside = Tokenizer(tokenizer.model)
        empty = {"type": "WordLevel", "vocab": {"": 0}, "unk_token": ""}
        bare = {name: _without_prefix(part) for name, part in parts.items()}
        built = Tokenizer.from_str(json.dumps(plain | {"model": empty} | bare))
        if built.normalizer is not None:
            inside.normalizer = built.normalizer
        if built.pre_tokenizer is not None:
            inside.pre_tokenizer = built.pre_tokenizer
    return PieceEncoder(tokenizer, spelling_of(stated), prefix, inside)


def vocabulary_of(model: Mapping[str, Any]) -> dict[str, int]:
    """Return the vocabulary of a model of ``tokenizer.json``: token → id."""
    words = model.get("vocab")
    if isinstance(words, list):
        return {piece: i for i, (piece, _) in enumerate(words)}
    return dict(words or {})


def spelling_of(stated: Mapping[str, Any]) -> Spelling:
    """Return the spelling of the tokens of a ``tokenizer.json``."""
    model = stated["model"]
    if _is_bytewise(stated):
        return spelled_in_letters
    if model.get("type") == "WordPiece":
        return spelled_by_words(model.get("continuing_subword_prefix") or "##")
    if suffix := model.get("end_of_word_suffix"):
        return spelled_by_words("", suffix)
    if prefix := model.get("continuing_subword_prefix"):
        return spelled_by_words(prefix)
    parts = [stated.get(part) for part in ("normalizer", "pre_tokenizer", "decoder")]
    text = json.dumps(parts, ensure_ascii=False)
    if model.get("byte_fallback") or SPACE in text or '"Metaspace"' in text:
        return spelled_by_sentencepiece
    return spelled_as_text


def _is_bytewise(stated: Mapping[str, Any]) -> bool:
    parts = json.dumps([stated.get("normalizer"), stated.get("pre_tokenizer")])
    return '"ByteLevel"' in parts


def _without(control: Set[str], model: Mapping[str, Any], is_bytewise: bool) -> dict[str, Any]:
    """Return the model without tokens that text must not produce."""
    if isinstance(model["vocab"], list):
        # Ids are positions in the list. No text contains the new name, since spaces become "▁".
        pieces = [
            [f" {i}" if piece in control else piece, score]
            for i, (piece, score) in enumerate(model["vocab"])
        ]
        return {**model, "vocab": pieces}
    unknown = None if is_bytewise or model.get("ignore_merges") else model.get("unk_token")
    kept = {t: i for t, i in model["vocab"].items() if t not in control or t == unknown}
    changes: dict[str, Any] = {"vocab": kept}
    if "merges" in model:
        merges = [
            (left, right)
            for left, right in model["merges"]
            if control.isdisjoint((left, right, left + right))
        ]
        changes |= {"merges": merges, "unk_token": unknown, "dropout": None}
    return {**model, **changes}


def _prefix_of(normalizer: object, pre_tokenizer: object) -> Prefix:
    """Return where the parts of a ``tokenizer.json`` put a space before a text."""
    found: list[Prefix] = []
    for part in (*_parts(normalizer), *_parts(pre_tokenizer)):
        match part:
            case {"type": "Prepend"} | {"type": "ByteLevel", "add_prefix_space": True}:
                found.append("every")
            case {"type": "Metaspace", "prepend_scheme": "first"}:
                found.append("first")
            case {"type": "Metaspace", "prepend_scheme": "never"}:
                pass
            case {"type": "Metaspace"} if part.get("add_prefix_space", True):
                found.append("every")
    return "every" if "every" in found else "first" if found else "none"


def _parts(part: object) -> list[Mapping[str, Any]]:
    """List a part of a ``tokenizer.json`` and the parts that it consists of."""
    if not isinstance(part, dict):
        return []
    inner = part.get("normalizers") or part.get("pretokenizers") or []
    return [part, *(found for each in inner for found in _parts(each))]


def _without_prefix(part: Any) -> Any:
    """Return a part of a ``tokenizer.json`` that puts no space before a text."""
    match part:
        case {"type": "Prepend"}:
            return {"type": "Sequence", "normalizers": []}
        case {"type": "ByteLevel"}:
            return {**part, "add_prefix_space": False}
        case {"type": "Metaspace"}:
            rest = {key: value for key, value in part.items() if key != "add_prefix_space"}
            return {**rest, "prepend_scheme": "never"}
        case {"normalizers": list(inner)}:
            return {**part, "normalizers": [_without_prefix(each) for each in inner]}
        case {"pretokenizers": list(inner)}:
            return {**part, "pretokenizers": [_without_prefix(each) for each in inner]}
        case _:
            return part
