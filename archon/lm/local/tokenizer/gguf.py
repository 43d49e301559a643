"""Read ``TokenizerConfig`` from the ``tokenizer.ggml.*`` keys of a GGUF file.

The file contains the vocabulary and the merges. The pre-tokenizer, which splits text before
merging, is not defined but only named (``tokenizer.ggml.pre``, see ``pretokenizers``). Old files
lack this name or the token types. These are inferred from other keys, if possible.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import BPE

from archon.engine.files.gguf import GGUFFile
from archon.engine.files.key_rules import KeyRules
from archon.engine.model.families import FAMILIES
from archon.errors import ModelFileError
from archon.lm.local.tokenizer.added_tokens import AddedToken, is_marker
from archon.lm.local.tokenizer.config import (
    END_NAMES,
    TokenizerConfig,
    default_template,
    invalid_merge,
)
from archon.lm.local.tokenizer.pretokenizers import (
    RULES,
    PreTokenizerRule,
    known_names,
    rule_of_name,
)

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED = 1, 2, 3, 4, 5
_NAMED = {
    "bos_token": "bos", "eos_token": "eos", "eot_token": "eot", "unk_token": "unknown",
    "sep_token": "seperator", "pad_token": "padding", "cls_token": "cls", "mask_token": "mask",
}  # fmt: skip
"""Chat-template variable → the token's name in GGUF keys. GGUF misspells "separator"."""
_NO_TEXT = (_UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED)
_TAG = re.compile(r"</?\w[\w-]*>")
"""Pattern of added tokens that are not control tokens, such as ``<think>``."""
_PADDING = re.compile(r"\[PAD\d*\]|<dummy\d+>|<\|reserved_special_token_\d+\|>|<unused_?\d+>")

TOKENIZER_RULES = KeyRules(
    computed=frozenset({
        "model", "pre", "tokens", "token_type", "merges", "bos_token_id", "eos_token_id",
        "eot_token_id", "add_bos_token",
    }),
    irrelevant=frozenset({
        "scores",  # used only by tokenizers without merges
        "token_type_count",  # number of segment types in encoders
        "chat_template",
    }),
    neutral={
        "add_eos_token": (), "add_sep_token": (), "add_space_prefix": (),
        "remove_extra_whitespaces": (), "precompiled_charsmap": (), "suppress_tokens": (),
    },
    irrelevant_names=re.compile(r".*_token_ids?"),  # tokens that Archon does not use
)  # fmt: skip
"""The ``tokenizer.ggml.*`` keys of a GGUF file that are read, ignored or rejected."""


def tokenizer_config_of_gguf(file: GGUFFile) -> TokenizerConfig:
    """Read a GGUF file's tokenizer and chat template.

    Raises
    ------
    ModelFileError
        The file has no tokenizer, or its tokenizer is damaged or of an unsupported type.
    """
    keys = _TokenizerKeys(file)
    if keys.get("model", str) != "gpt2":
        reason = f"tokenizer model {keys.get('model', str)!r} is not supported; only 'gpt2' is"
        raise keys.error(reason)
    keys.check()
    tokens = keys.strings("tokens")
    vocabulary = {token: i for i, token in enumerate(tokens)}
    rule = _pre_tokenizer_rule(keys, file.metadata.get("general.architecture"), vocabulary)
    stated = keys.get("token_type", list) if keys.has("token_type") else None
    if len(vocabulary) != len(tokens) or (stated is not None and len(stated) != len(tokens)):
        raise keys.error(
            "tokenizer.ggml.tokens has duplicates, or token_type has a different number of values"
        )
    merges = _merges(keys, vocabulary)
    kinds = _inferred_types(tokens, merges) if stated is None else stated
    named = {
        name: token
        for name, key in _NAMED.items()
        if (token := keys.token(f"{key}_token_id", len(tokens))) is not None
    }
    merged = {left + right for left, right in merges}
    controls = {
        i
        for i, kind in enumerate(kinds)
        if kind in (_CONTROL, _UNKNOWN) or (kind == _USER_DEFINED and is_marker(tokens[i]))
    }
    # A single letter or the result of a merge is text, even if it also serves as padding.
    controls |= {i for i in named.values() if tokens[i] not in merged}
    controls = {i for i in controls if len(tokens[i]) > 1}
    added = tuple(
        AddedToken(token, i, is_control=i in controls)
        for i, token in enumerate(tokens)
        if i in controls or kinds[i] == _USER_DEFINED
    )
    named_ends = {vocabulary[name] for name in END_NAMES if vocabulary.get(name) in controls}
    stated_ends = {named[name] for name in ("eos_token", "eot_token") if name in named}
    adds_bos = keys.boolean("add_bos_token", rule.adds_bos)
    if adds_bos and "bos_token" not in named and keys.has("add_bos_token"):
        raise keys.error(
            "tokenizer.ggml.bos_token_id must be a token id because add_bos_token is true"
        )
    return TokenizerConfig(
        path=file.path,
        tokens=tuple(tokens),
        bpe=_tokenizer(keys, rule, vocabulary, merges, {token.text for token in added} - merged),
        added_tokens=added,
        no_text_ids=frozenset(i for i, kind in enumerate(kinds) if kind in _NO_TEXT) | controls,
        stop_ids=frozenset(named_ends | stated_ends),
        template_tokens={n: tokens[i] for n, i in named.items() if n != "eot_token"},
        begin_ids=(named["bos_token"],) if adds_bos and "bos_token" in named else (),
        chat_template=_chat_template(file),
    )


def _chat_template(file: GGUFFile) -> str | None:
    """Return the file's default chat template, or None if the file has no templates.

    The key of a named template is ``tokenizer.chat_template.NAME``.
    """
    key = "tokenizer.chat_template"
    named = {
        name.removeprefix(f"{key}."): value
        for name, value in file.metadata.items()
        if name.startswith(f"{key}.")
    }
    if key in file.metadata:
        named["default"] = file.metadata[key]
    return default_template(named, str(file.path))


def _pre_tokenizer_rule(
    keys: _TokenizerKeys, architecture: object, vocabulary: Mapping[str, int]
) -> PreTokenizerRule:
    """Return the pre-tokenizer that the file names, or the default of its model family."""
    name = keys.get("pre", str) if keys.has("pre") else "default"
    rule = rule_of_name(name)
    if rule is not None:
        return rule
    if name != "default":
        raise keys.error(f"pre-tokenizer {name!r} is not supported; supported: {known_names()}")
    family = FAMILIES.get(str(architecture))
    if family is not None and family.gguf_tokenizer:
        return RULES[family.gguf_tokenizer]
    if "<|begin_of_text|>" in vocabulary and "<|end_of_text|>" in vocabulary:
        return RULES["llama-bpe"]
    raise keys.error(
        "tokenizer.ggml.pre is missing, and the pre-tokenizer cannot be inferred from the file; "
        "convert the model again with a newer llama.cpp, or use its folder of safetensors files"
    )


Merges = list[tuple[str, str]]


def _merges(keys: _TokenizerKeys, vocabulary: Mapping[str, int]) -> Merges:
    pairs = (merge.partition(" ") for merge in keys.strings("merges"))
    merges = [(left, right) for left, _, right in pairs]
    if (invalid := invalid_merge(merges, vocabulary)) is not None:
        raise keys.error(
            f"damaged tokenizer: the result of the merge {invalid!r} is not in the vocabulary"
        )
    return merges


def _inferred_types(tokens: Sequence[str], merges: Merges) -> list[int]:
    """Infer the token types for a file without ``tokenizer.ggml.token_type``.

    Single letters and merge results are ordinary tokens. Other tokens are classified by their
    spelling: padding is unused, markers are control tokens, and tags are added tokens.
    """
    ordinary = {left + right for left, right in merges}

    def type_of(token: str) -> int:
        if len(token) == 1 or token in ordinary:
            return _NORMAL
        if _PADDING.fullmatch(token):
            return _UNUSED
        if is_marker(token):
            return _CONTROL
        return _USER_DEFINED if _TAG.fullmatch(token) else _NORMAL

    return [type_of(token) for token in tokens]


def _tokenizer(
    keys: _TokenizerKeys,
    rule: PreTokenizerRule,
    vocabulary: Mapping[str, int],
    merges: Merges,
    added: Collection[str],
) -> Tokenizer:
    """Build the tokenizer for ordinary text, without added tokens."""
    words = {token: i for token, i in vocabulary.items() if token not in added}
    try:
        model = BPE(vocab=words, merges=merges, ignore_merges=rule.whole_pieces)
        tokenizer = Tokenizer(model)
    except Exception as error:  # the library has no narrower type
        raise keys.error(f"damaged tokenizer: {error}") from None
    if rule.normalizer is not None:
        tokenizer.normalizer = rule.normalizer()
    tokenizer.pre_tokenizer = rule.pieces()
    return tokenizer


_PREFIX = "tokenizer.ggml."


class _TokenizerKeys:
    """Reads a file's ``tokenizer.ggml.*`` keys and checks the type of each value."""

    def __init__(self, file: GGUFFile) -> None:
        self._file = file

    def check(self) -> None:
        """Raise ``ModelFileError`` if a key changes the encoding in an unsupported way."""
        keys = self._file.metadata.items()
        named = {k.removeprefix(_PREFIX): v for k, v in keys if k.startswith(_PREFIX)}
        TOKENIZER_RULES.check(named, self._file.path, _PREFIX)

    def has(self, name: str) -> bool:
        return _PREFIX + name in self._file.metadata

    def boolean(self, name: str, usual: bool) -> bool:
        value = self._file.metadata.get(_PREFIX + name, usual)
        if not isinstance(value, bool):
            raise self.error(f"{_PREFIX}{name} must be true or false, not {value!r}")
        return value

    def get(self, name: str, kind: type) -> Any:
        value = self._file.metadata.get(_PREFIX + name)
        if not isinstance(value, kind):
            raise self.error(f"{_PREFIX}{name} must be a {kind.__name__}")
        return value

    def strings(self, name: str) -> list[str]:
        values: list[str] = self.get(name, list)
        if not all(isinstance(value, str) for value in values):
            raise self.error(f"{_PREFIX}{name} must contain only strings")
        return values

    def token(self, name: str, num_tokens: int) -> int | None:
        """Return the token id under a key, or None if it is missing or not below ``num_tokens``."""
        value = self._file.metadata.get(_PREFIX + name)
        return value if isinstance(value, int) and 0 <= value < num_tokens else None

    def error(self, reason: str) -> ModelFileError:
        return ModelFileError(f"{self._file.path}: {reason}")
