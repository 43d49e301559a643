r"""Pre-tokenizers: the rules that split text into pieces before byte-pair encoding.

A GGUF file has only the name of its rule (``tokenizer.ggml.pre``). llama.cpp names rules after
families of models, so that one rule has many names; ``RULES`` lists them all. A rule is a list of
steps; each splits the pieces of the previous step further, mostly by a regular expression of
Oniguruma. The expressions are those of the families' ``tokenizer.json``; where llama.cpp
approximates one, because its own matcher lacks a feature, the original is used.

Source: ``src/llama-vocab.cpp`` of https://github.com/ggml-org/llama.cpp
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tokenizers import Regex, normalizers, pre_tokenizers
from tokenizers.normalizers import Normalizer
from tokenizers.pre_tokenizers import PreTokenizer

Step = Callable[[], PreTokenizer]


@dataclass(frozen=True, slots=True)
class PreTokenizerRule:
    """A pre-tokenizer, with related settings of the model families that use it."""

    names: tuple[str, ...]
    """Its names in GGUF files."""
    steps: tuple[Step, ...]
    normalizer: Callable[[], Normalizer] | None = None
    whole_pieces: bool = False
    """Whether a piece that is in the vocabulary becomes one token, regardless of the merges."""
    adds_bos: bool = False
    """A text begins with the beginning-of-text token unless the file states otherwise."""
    uses_letters: bool = True
    """Pieces are written in byte letters (``spelling``). Otherwise they are text with "▁" for
    spaces, and the vocabulary has a token for each byte."""
    steps_of_letters: tuple[Step, ...] = ()
    """Steps that split byte letters."""

    def pieces(self) -> PreTokenizer:
        """Build the pre-tokenizer."""
        letters = (_byte_letters, *self.steps_of_letters) if self.uses_letters else ()
        return pre_tokenizers.Sequence([step() for step in (*self.steps, *letters)])


def _byte_letters() -> PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def _split(pattern: str) -> PreTokenizer:
    return pre_tokenizers.Split(Regex(pattern), behavior="isolated")


def _by(*patterns: str) -> tuple[Step, ...]:
    return tuple(partial(_split, pattern) for pattern in patterns)


def _digits(individual: bool = True) -> PreTokenizer:
    return pre_tokenizers.Digits(individual_digits=individual)


def _punctuation(behavior: str) -> PreTokenizer:
    return pre_tokenizers.Punctuation(behavior)


# Parts of the regular expressions.
_SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SPACES = r"\s+(?!\S)|\s+"
_LINES = r"\s*[\r\n]+"
_SYMBOLS = r" ?[^\s\p{L}\p{N}]+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_ASCII_PUNCTUATION = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"""
_CJK = r"[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
_CJK_OF_DEEPSEEK = r"[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
_LETTERS_OF_DEEPSEEK = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙ"
    "ὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-\u212dℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-"
    "ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)
_SCRIPTS_OF_AFMOE = (
    r"\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf"
    r"\u0e40-\u0e7f\u0ec0-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff"
)


def _words_by_case(numbers: str, *, suffix: str = "", symbols: str = r"[\r\n/]*") -> str:
    """Return the expression of o200k and Tekken: words are split before capital letters."""
    start = r"[^\r\n\p{L}\p{N}]?"
    words = f"{start}{_UPPER}*{_LOWER}+{suffix}|{start}{_UPPER}+{_LOWER}*{suffix}"
    return rf"{words}|{numbers}|{_SYMBOLS}{symbols}|{_LINES}|{_SPACES}"


_GPT2 = rf"'s|'t|'re|'ve|'m|'ll|'d| ?\p{{L}}+| ?\p{{N}}+|{_SYMBOLS}|{_SPACES}"
_LLAMA3 = rf"{_SUFFIX}|{_WORD}|\p{{N}}{{1,3}}|{_SYMBOLS}[\r\n]*|{_LINES}|{_SPACES}"
_QWEN2 = rf"{_SUFFIX}|{_WORD}|\p{{N}}|{_SYMBOLS}[\r\n]*|{_LINES}|{_SPACES}"
_DEEPSEEK3 = (
    rf"{_ASCII_PUNCTUATION}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+"
    r"| ?[\p{P}\p{S}]+"
)
_BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"
_O200K = _words_by_case(r"\p{N}{1,3}", suffix=f"{_SUFFIX}?")
_LINE = r"[^\n]+|[\n]+"
_NOT_HAN_UPPER, _NOT_HAN_LOWER = f"{_UPPER[:-1]}&&[^\\p{{Han}}]]", f"{_LOWER[:-1]}&&[^\\p{{Han}}]]"
_THREE_FROM_THE_RIGHT = r"{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"

RULES: dict[str, PreTokenizerRule] = {
    "qwen2": PreTokenizerRule(
        ("qwen2", "deepseek-r1-qwen", "megrez", "kormo", "f2llmv2"),
        _by(_QWEN2),
        normalizer=normalizers.NFC,
    ),
    "qwen35": PreTokenizerRule(
        ("qwen35",),
        _by(
            rf"{_SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
            rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_LINES}|{_SPACES}"
        ),
        normalizer=normalizers.NFC,
    ),
    "stablelm2": PreTokenizerRule(
        ("stablelm2", "hunyuan", "solar-open", "grok-2"), _by(_QWEN2)
    ),
    "ufakzeka": PreTokenizerRule(
        ("ufakzeka",), _by(rf"{_WORD}|\p{{N}}|{_SYMBOLS}[\r\n]*|{_LINES}|{_SPACES}")
    ),
    "laguna": PreTokenizerRule(("laguna",), _by(_LINE, _QWEN2)),
    "seed-coder": PreTokenizerRule(
        ("seed-coder",),
        _by(rf"{_SUFFIX}|{_WORD}|\p{{N}}{{1}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_LINES}|{_SPACES}"),
    ),
    "bailingmoe": PreTokenizerRule(
        ("bailingmoe", "bailingmoe2", "llada-moe"),
        _by(
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*"
            rf"|\s*[\r\n]|{_SPACES}"
        ),
    ),
    "exaone-moe": PreTokenizerRule(
        ("exaone-moe",),
        _by(
            rf"{_SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+|\p{{N}}"
            rf"|{_SYMBOLS}[\r\n/]?|\s*[\r\n]|{_SPACES}"
        ),
    ),
    "llama-bpe": PreTokenizerRule(
        (
            "llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0",
            "lfm2", "jina-v5-nano",
        ),
        _by(_LLAMA3),
        whole_pieces=True,
        adds_bos=True,
    ),
    "smaug-bpe": PreTokenizerRule(("smaug-bpe", "dbrx", "glm4", "chatglm-bpe"), _by(_LLAMA3)),
    "jais-2": PreTokenizerRule(
        ("jais-2",),
        _by(
            _LLAMA3.removesuffix(_SPACES)
            + "|".join(rf"\s{{{count}}}(?!\S)" for count in (512, 256, 128, 64, 32, 16, 8, 4))
            + r"|\s{1,2}(?!\S)|\s{1}"
        ),
    ),
    "minicpm5": PreTokenizerRule(
        ("minicpm5",),
        _by(
            r"\p{N}{1,3}",
            rf"{_SUFFIX}|{_WORD}|\p{{N}}+|{_SYMBOLS}[\r\n]*|{_LINES}|{_SPACES}",
        ),
        whole_pieces=True,
    ),
    "gpt-4o": PreTokenizerRule(
        ("gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"), _by(_O200K)
    ),
    "granite-embed-multi-97m": PreTokenizerRule(
        ("granite-embed-multi-97m",), _by(_O200K), whole_pieces=True
    ),
    "tiny_aya": PreTokenizerRule(
        ("tiny_aya", "cohere2moe"), _by(r"\d{1,3}(?=(?:\d{3})*\b)", _O200K)
    ),
    "tekken": PreTokenizerRule(
        ("tekken",), _by(_words_by_case(r"\p{N}")), whole_pieces=True, adds_bos=True
    ),
    "kimi-k2": PreTokenizerRule(
        ("kimi-k2",),
        _by(
            r"[\p{Han}]+|"
            + _words_by_case(r"\p{N}{1,3}", suffix=f"{_SUFFIX}?", symbols=r"[\r\n]*")
            .replace(_UPPER, _NOT_HAN_UPPER)
            .replace(_LOWER, _NOT_HAN_LOWER)
        ),
    ),
    "youtu": PreTokenizerRule(
        ("youtu",),
        _by(
            r"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" + _CJK,
            _words_by_case(r"\p{N}", suffix=f"{_SUFFIX}?"),
        ),
        whole_pieces=True,
    ),
    "deepseek-llm": PreTokenizerRule(
        ("deepseek-llm",),
        _by(
            r"[\r\n]",
            rf"\s?[{_LETTERS_OF_DEEPSEEK}]+",
            r"\s?[!-/:-~！-／：-～‘-‟\u3000-。]+",
            r"\s+$",
            _CJK_OF_DEEPSEEK,
            r"\p{N}+",
        ),
    ),
    "deepseek-coder": PreTokenizerRule(
        ("deepseek-coder",),
        (*_by(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK_OF_DEEPSEEK), _digits),
    ),
    "deepseek-v3": PreTokenizerRule(
        ("deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"),
        _by(r"\p{N}{1,3}", _CJK, rf"{_DEEPSEEK3}[\r\n]*|{_LINES}|{_SPACES}"),
    ),
    "spark2_5": PreTokenizerRule(
        ("spark2_5",),
        _by(r"\p{N}{1,3}", _CJK, rf"{_DEEPSEEK3}|[\r\n]|{_SPACES}", r"\p{N}"),
    ),
    "afmoe": PreTokenizerRule(
        ("afmoe",),
        _by(
            rf"\p{{N}}{_THREE_FROM_THE_RIGHT}",
            rf"[{_SCRIPTS_OF_AFMOE}\uac00-\ud7af\u1100-\u11ff]+",
            rf"{_DEEPSEEK3}[\r\n]*|{_LINES}|{_SPACES}",
        ),
    ),
    "superbpe": PreTokenizerRule(("superbpe",), _by(r"\p{N}+", r"(?=(\d{3})+(?!\d))")),
    "gpt-2": PreTokenizerRule(
        (
            "gpt-2", "phi-2", "jina-es", "jina-de", "jina-v1-en", "jina-v2-es", "jina-v2-de",
            "jina-v2-code", "roberta-bpe", "gigachat", "a.x-4.0", "mellum", "exaone4", "jais",
            "trillion", "granite-docling",
        ),
        _by(_GPT2),
    ),
    "olmo": PreTokenizerRule(
        ("olmo", "mpt", "modern-bert"), _by(_GPT2), normalizer=normalizers.NFC
    ),
    "smollm": PreTokenizerRule(
        ("smollm", "starcoder", "refact", "codeshell", "exaone", "minerva-7b", "mellum2"),
        (_digits, *_by(_GPT2)),
    ),
    "command-r": PreTokenizerRule(
        ("command-r",), (_digits, *_by(_GPT2)), normalizer=normalizers.NFC
    ),
    "falcon": PreTokenizerRule(
        ("falcon",),
        (partial(_punctuation, "contiguous"), *_by(_GPT2)),
        # Some letters are digits, such as "²" for the byte 0xB2.
        steps_of_letters=(partial(_digits, individual=False), *_by("[0-9][0-9][0-9]")),
    ),
    "chameleon": PreTokenizerRule(
        ("chameleon",),
        (
            *_by(r"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\t\n]|    |  )"),
            _digits,
            partial(_punctuation, "isolated"),
            *_by(_GPT2),
        ),
        adds_bos=True,
    ),
    "bloom": PreTokenizerRule(("bloom", "poro-chat", "gpt3-finnish"), _by(_BLOOM)),
    "viking": PreTokenizerRule(("viking",), (*_by(_BLOOM), _digits)),
    "gemma4": PreTokenizerRule(
        ("gemma4", "granite-embed-multi-311m"), (), adds_bos=True, uses_letters=False
    ),
    "sarvam-moe": PreTokenizerRule(("sarvam-moe",), (), uses_letters=False),
    "default": PreTokenizerRule(
        ("default",),
        _by(r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
    ),
}  # fmt: skip
"""Pre-tokenizers, each by one of its names."""

_RULE_OF_ARCHITECTURE = {
    "qwen2": "qwen2", "qwen2moe": "qwen2", "qwen2vl": "qwen2", "qwen3": "qwen2",
    "qwen3moe": "qwen2", "qwen3vl": "qwen2", "qwen35": "qwen35", "qwen35moe": "qwen35",
    "olmo": "olmo", "olmo2": "smaug-bpe", "olmoe": "olmo", "mpt": "olmo", "gptneox": "olmo",
    "gpt2": "gpt-2", "phi2": "gpt-2", "bloom": "bloom", "falcon": "falcon",
    "starcoder": "smollm", "starcoder2": "smollm", "refact": "smollm", "codeshell": "smollm",
    "smollm3": "llama-bpe", "granite": "smollm", "granitemoe": "smollm",
    "command-r": "command-r", "cohere2": "command-r", "dbrx": "smaug-bpe", "chatglm": "smaug-bpe",
    "glm4": "smaug-bpe", "stablelm": "stablelm2", "deepseek2": "deepseek-llm", "llama4": "gpt-4o",
    "gpt-oss": "gpt-4o", "gemma4": "gemma4",
}  # fmt: skip
"""``general.architecture`` → rule of most models of the family, for files that name none."""


def rule_of_name(name: str) -> PreTokenizerRule | None:
    """Return the pre-tokenizer with the given GGUF name, or None if it is not supported."""
    return next((rule for rule in RULES.values() if name in rule.names), None)


def rule_of_architecture(name: str) -> str | None:
    """Return the key of the rule that most models of a family use; None if there is none."""
    return _RULE_OF_ARCHITECTURE.get(name)


def known_names() -> Sequence[str]:
    """Return the supported names."""
    return [name for rule in RULES.values() for name in rule.names]
