"""``TextRules`` of a GGUF file, from its ``tokenizer.ggml.*`` keys.

The file holds a vocabulary and its merges; how text is cut before merging is named only
(``tokenizer.ggml.pre``), so each rule is written out here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE

from archon.engine.files.gguf import GGUFFile
from archon.errors import ModelFileError
from archon.lm.local.text import END_NAMES, TextRules, lost_merge

_UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED = 2, 3, 4, 5
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
    special = {t: i for i, t in enumerate(tokens) if kinds[i] in (_CONTROL, _USER_DEFINED)}
    named_ends = {special[name] for name in END_NAMES if name in special}
    bos_id, eos_id, eot_id = (
        keys.token(f"{name}_token_id", len(tokens)) for name in ("bos", "eos", "eot")
    )
    adds_bos = bool(file.metadata.get("tokenizer.ggml.add_bos_token", False))
    template = file.metadata.get("tokenizer.chat_template")
    return TextRules(
        path=file.path,
        tokens=tuple(tokens),
        bpe=_tokenizer(keys, vocabulary),
        special_ids=special,
        no_text_ids=frozenset(i for i, kind in enumerate(kinds) if kind in _NO_TEXT),
        control_ids=frozenset(i for i, kind in enumerate(kinds) if kind == _CONTROL),
        stop_ids=frozenset({*named_ends, *(i for i in (eos_id, eot_id) if i is not None)}),
        bos="" if bos_id is None else tokens[bos_id],
        eos="" if eos_id is None else tokens[eos_id],
        begin_ids=(bos_id,) if adds_bos and bos_id is not None else (),
        chat_template=template if isinstance(template, str) else None,
    )


def _tokenizer(keys: _Keys, vocabulary: Mapping[str, int]) -> Tokenizer:
    rule = keys.get("pre", str)
    if rule not in PIECES:
        known = ", ".join(PIECES)
        raise keys.error(f"splitting rule {rule!r} is not supported ({known} are)")
    parted = (merge.partition(" ") for merge in keys.strings("merges"))
    merges = [(left, right) for left, _, right in parted]
    if (lost := lost_merge(merges, vocabulary)) is not None:
        raise keys.error(f"damaged tokenizer: the merge {lost!r} makes no token")
    try:
        tokenizer = Tokenizer(BPE(vocab=dict(vocabulary), merges=merges))
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
