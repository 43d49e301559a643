"""Pre-tokenizers, compared with those of published ``tokenizer.json`` files."""

from __future__ import annotations

from typing import Any

import pytest
from hostile_texts import hostile_texts
from tokenizers import Regex, pre_tokenizers
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Punctuation, Split
from transformers.models.qwen3_5 import tokenization_qwen3_5

from archon.lm.local.tokenizer.pretokenizers import RULES, known_names, rule_of_name

GPT2 = ByteLevel(add_prefix_space=False, use_regex=True)
LETTERS = ByteLevel(add_prefix_space=False, use_regex=False)
WORDS_BY_CASE = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
)
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")
DEEPSEEK3 = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CJK = "[一-龥\u3040-ゟ゠-ヿ]+"
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"


def split(pattern: str) -> PreTokenizer:
    return Split(Regex(pattern), "isolated", invert=False)


PUBLISHED: dict[str, list[PreTokenizer]] = {
    "qwen2": [split(QWEN2), LETTERS],
    "qwen35": [split(tokenization_qwen3_5.PRETOKENIZE_REGEX), LETTERS],
    "stablelm2": [split(QWEN2), LETTERS],
    "laguna": [split(r"[^\n]+|[\n]+"), split(QWEN2), LETTERS],
    "ufakzeka": [split(QWEN2.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)|", "")), LETTERS],
    "seed-coder": [
        split(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}"
            r"| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
        LETTERS,
    ],
    "bailingmoe": [
        split(
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*"
            r"|\s*[\r\n]|\s+(?!\S)|\s+"
        ),
        LETTERS,
    ],
    "exaone-moe": [
        split(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+"
            r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
        ),
        LETTERS,
    ],
    "llama-bpe": [split(LLAMA3), LETTERS],
    "smaug-bpe": [split(LLAMA3), LETTERS],
    "jais-2": [
        split(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)"
            r"|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}"
        ),
        LETTERS,
    ],
    "minicpm5": [split(r"\p{N}{1,3}"), split(LLAMA3.replace("{1,3}", "+")), LETTERS],
    "gpt-4o": [split(O200K), LETTERS],
    "granite-embed-multi-97m": [split(O200K), LETTERS],
    "tiny_aya": [split(r"\d{1,3}(?=(?:\d{3})*\b)"), split(O200K), LETTERS],
    "tekken": [
        split(
            WORDS_BY_CASE + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ),
        LETTERS,
    ],
    "kimi-k2": [
        split(
            r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
            r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
            r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
            r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        ),
        LETTERS,
    ],
    "youtu": [
        split(r"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥\u3040-ゟ゠-ヿ]+"),
        split(O200K.replace("{1,3}", "")),
        LETTERS,
    ],
    "deepseek-coder": [
        split(r"[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"),
        split("[一-龥\u0800-一가-\ud7ff]+"), Digits(individual_digits=True), LETTERS,
    ],
    "deepseek-v3": [split(r"\p{N}{1,3}"), split(CJK), split(DEEPSEEK3), LETTERS],
    "spark2_5": [
        split(r"\p{N}{1,3}"), split(CJK),
        split(DEEPSEEK3.replace(r"[\r\n]*|\s*[\r\n]+", r"|[\r\n]")), split(r"\p{N}"), LETTERS,
    ],
    "superbpe": [split(r"\p{N}+"), split(r"(?=(\d{3})+(?!\d))"), LETTERS],
    "gpt-2": [GPT2],
    "olmo": [GPT2],
    "smollm": [Digits(individual_digits=True), GPT2],
    "command-r": [Digits(individual_digits=True), GPT2],
    "falcon": [
        Punctuation("contiguous"), GPT2, Digits(individual_digits=False),
        split("[0-9][0-9][0-9]"),
    ],
    "chameleon": [
        split("<sentinel:[0-9]+>"), split("(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z"),
        split("([\\t\\n]|    |  )"), Digits(individual_digits=True), Punctuation("isolated"), GPT2,
    ],
    "bloom": [split(BLOOM), LETTERS],
    "viking": [split(BLOOM), Digits(individual_digits=True), LETTERS],
}  # fmt: skip
UNPUBLISHED = {
    "deepseek-llm": "its expression is tested below",
    "afmoe": "its expression is tested below",
    "gemma4": "it does not split",
    "sarvam-moe": "it does not split",
    "default": "llama.cpp's own",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_rule_splits_like_the_published_tokenizer(name: str) -> None:
    ours, theirs = RULES[name].pieces(), pre_tokenizers.Sequence(PUBLISHED[name])
    for text in hostile_texts():
        assert ours.pre_tokenize_str(text) == theirs.pre_tokenize_str(text)


def test_every_rule_is_compared() -> None:
    assert RULES.keys() == PUBLISHED.keys() | UNPUBLISHED.keys()


def cut(name: str, text: str) -> list[str]:
    return [text[start:end] for _, (start, end) in RULES[name].pieces().pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("name", "text", "pieces"),
    [
        ("deepseek-llm", "Hi there, ωρα \u1f62", ["Hi", " there", ",", " ωρα", " ", "\u1f62"]),
        (
            "deepseek-llm",
            "a1 漢字かな 12!  \n",
            ["a", "1", " ", "漢字かな", " ", "12", "!", "  ", "\n"],
        ),
        ("afmoe", "1234567 x12345", ["1", "234", "567", " x", "12", "345"]),
        ("afmoe", "ab漢字ไcd", ["ab", "漢字ไ", "cd"]),
        ("default", "f(x)=12345", ["f", "(", "x", ")=", "123", "45"]),
        ("gemma4", "two  words\n\n1", ["two  words\n\n1"]),
        ("sarvam-moe", "two  words\n\n1", ["two  words\n\n1"]),
    ],
)
def test_other_rules_split_as_documented(name: str, text: str, pieces: list[str]) -> None:
    assert cut(name, text) == pieces


LLAMA_CPP_NAMES = """
    default minicpm5 llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2
    jina-v5-nano deepseek-llm deepseek-coder deepseek-v3 spark2_5 youtu falcon mpt starcoder
    gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert jais-2
    gemma4 granite-embed-multi-311m sarvam-moe jina-v1-en jina-v2-code roberta-bpe refact
    command-r qwen2 deepseek-r1-qwen kormo f2llmv2 qwen35 stablelm2 olmo dbrx smaug-bpe
    poro-chat glm4 chatglm-bpe viking jais tekken smollm codeshell bloom gpt3-finnish exaone
    exaone4 exaone-moe chameleon minerva-7b megrez gpt-4o llama4 kanana2 talkie
    granite-embed-multi-97m tiny_aya cohere2moe superbpe trillion granite-docling bailingmoe
    bailingmoe2 llada-moe seed-coder hunyuan hunyuan-dense hy_v4 joyai-llm kimi-k2 ufakzeka
    grok-2 afmoe laguna minimax-m2 solar-open mellum2
"""
"""Names in llama.cpp, November 2026, of tokenizers with merges."""


def test_every_name_of_llama_cpp_is_known_once() -> None:
    assert sorted(known_names()) == sorted(LLAMA_CPP_NAMES.split())
    assert rule_of_name("mystery") is None


def test_families_that_do_not_split_words_use_pieces_of_text() -> None:
    plain: dict[str, Any] = {name: rule for name, rule in RULES.items() if not rule.uses_letters}
    assert set(plain) == {"gemma4", "sarvam-moe"}
