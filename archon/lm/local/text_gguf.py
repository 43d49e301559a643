"""``TextRules`` of a GGUF file, from its ``tokenizer.ggml.*`` keys.

The file holds a vocabulary and its merges; how text is cut before merging is named only
(``tokenizer.ggml.pre``), so each rule is written out here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE

from archon.engine.files.gguf import GGUFFile
from archon.errors import ModelFileError
from archon.lm.local.added_tokens import AddedToken
from archon.lm.local.text import END_NAMES, TextRules, default_template, lost_merge

_UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED = 2, 3, 4, 5
_NAMED = {
    "bos_token": "bos", "eos_token": "eos", "eot_token": "eot", "unk_token": "unknown",
    "sep_token": "seperator", "pad_token": "padding", "cls_token": "cls", "mask_token": "mask",
}  # fmt: skip
"""Variable of a chat template → the token's name in the file, as GGUF spells it."""
_NO_TEXT = (_UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED)

_QWEN2_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


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


def text_rules_of_gguf(file: GGUFFile) -> TextRules:
    """Read a GGUF file's tokenizer and chat template.

    Raises
    ------
    ModelFileError : no tokenizer in the file, a damaged one, or a kind that is not supported.
    """
    keys = _Keys(file)
    if keys.get("model", str) != "gpt2":
        raise keys.error(f"tokenizer model {keys.get('model', str)!r} is not supported")
    tokens, kinds = keys.strings("tokens"), keys.get("token_type", list)
    vocabulary = {token: i for i, token in enumerate(tokens)}
    if len(kinds) != len(tokens) or len(vocabulary) != len(tokens):
        raise keys.error("tokens and their types do not fit together")
    named = {
        name: token
        for name, key in _NAMED.items()
        if (token := keys.token(f"{key}_token_id", len(tokens))) is not None
    }
    merges = _merges(keys)
    made = {left + right for left, right in merges}
    controls = {i for i, kind in enumerate(kinds) if kind in (_CONTROL, _UNKNOWN)}
    # A byte or a word that serves as padding, say, is text all the same.
    controls |= {i for i in named.values() if tokens[i] not in made}
    controls = {i for i in controls if len(tokens[i]) > 1}
    added = tuple(
        AddedToken(token, i, is_control=i in controls)
        for i, token in enumerate(tokens)
        if i in controls or kinds[i] == _USER_DEFINED
    )
    named_ends = {vocabulary[name] for name in END_NAMES if vocabulary.get(name) in controls}
    own_ends = {named[name] for name in ("eos_token", "eot_token") if name in named}
    adds_bos = bool(file.metadata.get("tokenizer.ggml.add_bos_token", False))
    return TextRules(
        path=file.path,
        tokens=tuple(tokens),
        bpe=_tokenizer(keys, vocabulary, merges, {token.text for token in added} - made),
        added_tokens=added,
        no_text_ids=frozenset(i for i, kind in enumerate(kinds) if kind in _NO_TEXT) | controls,
        stop_ids=frozenset(named_ends | own_ends),
        template_tokens={n: tokens[i] for n, i in named.items() if n != "eot_token"},
        begin_ids=(named["bos_token"],) if adds_bos and "bos_token" in named else (),
        chat_template=_chat_template(file),
    )


def _chat_template(file: GGUFFile) -> str | None:
    """The template of the file; further ones have their names at the end of the key."""
    key = "tokenizer.chat_template"
    named = {
        name.removeprefix(f"{key}."): value
        for name, value in file.metadata.items()
        if name.startswith(f"{key}.")
    }
    if key in file.metadata:
        named["default"] = file.metadata[key]
    return default_template(named, str(file.path))


def _merges(keys: _Keys) -> list[tuple[str, str]]:
    parted = (merge.partition(" ") for merge in keys.strings("merges"))
    return [(left, right) for left, _, right in parted]


def _tokenizer(
    keys: _Keys,
    vocabulary: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    added: Collection[str],
) -> Tokenizer:
    """The tokenizer of ordinary text, which knows no added tokens."""
    rule = keys.get("pre", str)
    if rule not in PIECES:
        known = ", ".join(PIECES)
        raise keys.error(f"splitting rule {rule!r} is not supported ({known} are)")
    if (lost := lost_merge(merges, vocabulary)) is not None:
        raise keys.error(f"damaged tokenizer: the merge {lost!r} makes no token")
    words = {token: i for token, i in vocabulary.items() if token not in added}
    try:
        tokenizer = Tokenizer(BPE(vocab=words, merges=list(merges)))
    except Exception as error:  # the library raises nothing narrower
        raise keys.error(f"damaged tokenizer: {error}") from None
    if rule == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = PIECES[rule]()
    return tokenizer


class _Keys:
    """The file's ``tokenizer.ggml.*`` keys, each checked as it is read."""

    def __init__(self, file: GGUFFile) -> None:
        self._file = file

    def get(self, name: str, kind: type) -> Any:
        value = self._file.metadata.get(f"tokenizer.ggml.{name}")
        if not isinstance(value, kind):
            raise self.error(f"tokenizer.ggml.{name} is missing or no {kind.__name__}")
        return value

    def strings(self, name: str) -> list[str]:
        values: list[str] = self.get(name, list)
        if not all(isinstance(value, str) for value in values):
            raise self.error(f"tokenizer.ggml.{name} holds something else than text")
        return values

    def token(self, name: str, num_tokens: int) -> int | None:
        """A token's id, or None where the file names none that it has."""
        value = self._file.metadata.get(f"tokenizer.ggml.{name}")
        return value if isinstance(value, int) and 0 <= value < num_tokens else None

    def error(self, reason: str) -> ModelFileError:
        return ModelFileError(f"{self._file.path}: {reason}")
