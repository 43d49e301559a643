"""How byte-level tokenizers cut text into pieces before they merge letters: the rules by name.

GGUF files name a rule (``tokenizer.ggml.pre``), and several names stand for the same one: llama.cpp
gives each family of models a name, and its table tells which are cut alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tokenizers import Regex, normalizers, pre_tokenizers


@dataclass(frozen=True, slots=True)
class SplittingRule:
    """One rule, and what goes with it in the families that use it."""

    pieces: Callable[[], pre_tokenizers.PreTokenizer]
    names: tuple[str, ...]
    """What GGUF files call it."""
    normalizer: Callable[[], normalizers.Normalizer] | None = None
    whole_pieces: bool = False
    """A piece that is a token as it stands is that token, whatever the merges."""
    adds_bos: bool = False
    """A text begins with the beginning-of-text token where the file does not say."""


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


RULES: dict[str, SplittingRule] = {
    "qwen2": SplittingRule(
        _qwen2_pieces,
        ("qwen2", "deepseek-r1-qwen", "megrez", "kormo", "f2llmv2"),
        normalizer=normalizers.NFC,
    ),
    "llama-bpe": SplittingRule(
        _llama3_pieces,
        ("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"),
        whole_pieces=True,
        adds_bos=True,
    ),
    "smaug-bpe": SplittingRule(_llama3_pieces, ("smaug-bpe", "dbrx")),
    "smollm": SplittingRule(_smollm_pieces, ("smollm", "starcoder", "refact", "codeshell")),
    "gpt-2": SplittingRule(_gpt2_pieces, ("gpt-2", "phi-2")),
}
"""The rules by one of their names."""


def rule_of_name(name: str) -> SplittingRule | None:
    """The rule of any of its names, or None where it is not supported."""
    return next((rule for rule in RULES.values() if name in rule.names), None)


def known_names() -> str:
    """All names, for errors."""
    return ", ".join(name for rule in RULES.values() for name in rule.names)
