"""Pre-tokenizers: rules that split text into pieces before byte-pair encoding.

A GGUF file names its pre-tokenizer (``tokenizer.ggml.pre``). The names are defined by llama.cpp,
with one name per model family, so a pre-tokenizer that several families share has several names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tokenizers import Regex, normalizers, pre_tokenizers


@dataclass(frozen=True, slots=True)
class PreTokenizerRule:
    """A pre-tokenizer, with related settings of the model families that use it."""

    pieces: Callable[[], pre_tokenizers.PreTokenizer]
    """Creates the ``tokenizers`` library's pre-tokenizer."""
    names: tuple[str, ...]
    """Names of the pre-tokenizer in GGUF files."""
    normalizer: Callable[[], normalizers.Normalizer] | None = None
    """Creates the ``tokenizers`` library's normalizer."""
    whole_pieces: bool = False
    """Whether a piece that is in the vocabulary becomes one token, regardless of the merges."""
    adds_bos: bool = False
    """Whether texts begin with the beginning-of-text token, unless the file states otherwise."""


def _pieces(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _qwen2_pieces() -> pre_tokenizers.PreTokenizer:
    return _pieces(rf"{_WORDS}|\p{{N}}|{_REST}")


def _llama3_pieces() -> pre_tokenizers.PreTokenizer:
    return _pieces(rf"{_WORDS}|\p{{N}}{{1,3}}|{_REST}")


def _gpt2_pieces() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def _smollm_pieces() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _gpt2_pieces()])


RULES: dict[str, PreTokenizerRule] = {
    "qwen2": PreTokenizerRule(
        _qwen2_pieces,
        ("qwen2", "deepseek-r1-qwen", "megrez", "kormo", "f2llmv2"),
        normalizer=normalizers.NFC,
    ),
    "llama-bpe": PreTokenizerRule(
        _llama3_pieces,
        ("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"),
        whole_pieces=True,
        adds_bos=True,
    ),
    "smaug-bpe": PreTokenizerRule(_llama3_pieces, ("smaug-bpe", "dbrx")),
    "smollm": PreTokenizerRule(_smollm_pieces, ("smollm", "starcoder", "refact", "codeshell")),
    "gpt-2": PreTokenizerRule(_gpt2_pieces, ("gpt-2", "phi-2")),
}
"""Supported pre-tokenizers; each key is one of the rule's names."""


def rule_of_name(name: str) -> PreTokenizerRule | None:
    """Return the pre-tokenizer with the given GGUF name, or None if it is not supported."""
    return next((rule for rule in RULES.values() if name in rule.names), None)


def known_names() -> str:
    """Return the supported names, separated by commas, for error messages."""
    return ", ".join(name for rule in RULES.values() for name in rule.names)
