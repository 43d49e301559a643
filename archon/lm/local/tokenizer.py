"""The tokenizer that a GGUF file carries: byte-level byte-pair encoding (Sennrich et al. 2016).

Text is cut into pieces by a rule (``tokenizer.ggml.pre`` names it), each piece's bytes are written
as printable letters, and neighbouring letters are merged, most frequent pairs first, into the
tokens of the vocabulary. Some tokens are no text: *control* tokens such as the end of a turn. They
are made only where a template is trusted to make them, never from what a message says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE

from archon.engine.gguf import GGUFFile
from archon.errors import ModelFileError

_UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED = 2, 3, 4, 5

_QWEN2_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

_END_NAMES = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "</s>")
"""Control tokens that end a text in one family or another, whatever else the file says."""


def _qwen2_pieces() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN2_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _smollm_pieces() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )


PIECES = {"qwen2": _qwen2_pieces, "smollm": _smollm_pieces}
"""Name of the splitting rule → how text is cut before merging."""


class TextTokenizer:
    """Text ↔ token ids.

    Parameters
    ----------
    file : the GGUF file; its ``tokenizer.ggml.*`` keys are read.

    Raises
    ------
    ModelFileError : no tokenizer in the file, a damaged one, or a kind that is not supported.
    """

    def __init__(self, file: GGUFFile) -> None:
        self._file = file
        if self._key("model", str) != "gpt2":
            raise self._error(f"tokenizer model {self._key('model', str)!r} is not supported")
        self.tokens = self._strings("tokens")
        kinds: list[int] = self._key("token_type", list)
        vocabulary = {token: i for i, token in enumerate(self.tokens)}
        if len(kinds) != len(self.tokens) or len(vocabulary) != len(self.tokens):
            raise self._error("tokens and their types do not fit together")
        special = {t: i for i, t in enumerate(self.tokens) if kinds[i] in (_CONTROL, _USER_DEFINED)}
        self.special_ids: dict[str, int] = special
        """Tokens that only a template makes: text → id."""
        self.control_ids = frozenset(i for i, kind in enumerate(kinds) if kind == _CONTROL)
        no_text = (_UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED)
        self.no_text_ids = frozenset(i for i, kind in enumerate(kinds) if kind in no_text)
        """Tokens that ``encode`` never makes of a text."""
        self.stop_ids = self._stop_ids()
        self._bpe = self._build(vocabulary)

    def encode(self, text: str) -> list[int]:
        """Text → ids, with no special tokens, whatever the text says."""
        ids: list[int] = self._bpe.encode(text, add_special_tokens=False).ids
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
        """The bytes that a token stands for; none for control tokens."""
        if token in self.control_ids:
            return b""
        text = self.tokens[token]
        if token in self.special_ids.values():
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

    def _stop_ids(self) -> frozenset[int]:
        named = {self.special_ids[name] for name in _END_NAMES if name in self.special_ids}
        for key in ("eos_token_id", "eot_token_id"):
            value = self._file.metadata.get(f"tokenizer.ggml.{key}")
            if isinstance(value, int) and 0 <= value < len(self.tokens):
                named.add(value)
        return frozenset(named)

    def _build(self, vocabulary: dict[str, int]) -> Tokenizer:
        rule = self._key("pre", str)
        if rule not in PIECES:
            known = ", ".join(PIECES)
            raise self._error(f"splitting rule {rule!r} is not supported ({known} are)")
        parted = (merge.partition(" ") for merge in self._strings("merges"))
        merges = [(left, right) for left, _, right in parted]
        try:
            tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=merges))
        except Exception as error:  # the library raises nothing narrower
            raise self._error(f"damaged tokenizer: {error}") from None
        if rule == "qwen2":
            tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = PIECES[rule]()
        return tokenizer

    def _key(self, name: str, kind: type) -> Any:
        value = self._file.metadata.get(f"tokenizer.ggml.{name}")
        if not isinstance(value, kind):
            raise self._error(f"tokenizer.ggml.{name} is missing or no {kind.__name__}")
        return value

    def _strings(self, name: str) -> list[str]:
        values: list[str] = self._key(name, list)
        if not all(isinstance(value, str) for value in values):
            raise self._error(f"tokenizer.ggml.{name} holds something else than text")
        return values

    def _error(self, reason: str) -> ModelFileError:
        return ModelFileError(f"{self._file.path}: {reason}")


def _byte_letters() -> dict[str, int]:
    """GPT-2's map of the 256 bytes to printable letters, the other way round.

    Bytes that print stand for themselves; the others take the letters from U+0100 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTE_OF_LETTER = _byte_letters()
