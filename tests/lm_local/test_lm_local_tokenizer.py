from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import CONTROL_TOKENS, USER_TOKENS, TinyModel, tiny_vocabulary, write_gguf
from transformers import Qwen2Tokenizer

from archon.engine.files.gguf import GGUFFile
from archon.errors import ModelError
from archon.lm.local.tokenizer import LONG_TEXT, TextTokenizer, read_tokenizer_config
from archon.lm.local.tokenizer.pretokenizers import RULES

VOCABULARY = tiny_vocabulary()
TEXTS = (
    "", " ", "\n", "the answer is 12.\n\nand the", "  two  spaces ", "I'm, WE'LL they'd 'Re",
    "x\r\n\r\ny", "1234567890 12,000.50", "naïve café é", "e\u0301 is é", "数学 🧮 ½ ٣",
    "a\tb\u00a0c\u2028d", "under_score #! ?? ...", "\x00\x01\x7f",
)  # fmt: skip


@cache
def tokenizer(pre: str = "qwen2") -> TextTokenizer:
    with TemporaryDirectory() as folder:
        return TextTokenizer(read_tokenizer_config(written(Path(folder), pre=pre)))


def written(folder: Path, **changes: Any) -> GGUFFile:
    path = folder / "model.gguf"
    write_gguf(path, TinyModel("qwen2", **changes))
    return GGUFFile(path)


LETTER_RULES = [name for name, rule in RULES.items() if rule.uses_letters]
"""Pre-tokenizers of vocabularies of byte letters, such as the tiny one."""


def pieces(pre: str, text: str) -> list[str]:
    """How a rule cuts text, in the text's own letters."""
    return [text[begin:end] for _, (begin, end) in RULES[pre].pieces().pre_tokenize_str(text)]


@cache
def transformers_tokenizer() -> Qwen2Tokenizer:
    vocabulary = {token: i for i, token in enumerate(VOCABULARY.tokens)}
    merges = [tuple(merge.split(" ")) for merge in VOCABULARY.merges]
    return Qwen2Tokenizer(vocab=vocabulary, merges=merges)


# ------------------------------------------------------------------------------ text ↔ ids


@pytest.mark.parametrize("text", TEXTS)
def test_qwen2_text_is_tokenized_as_by_transformers(text: str) -> None:
    expected = transformers_tokenizer().encode(text, add_special_tokens=False)
    assert tokenizer("qwen2").encode(text) == expected


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<")))
def test_any_qwen2_text_is_tokenized_as_by_transformers(text: str) -> None:
    expected = transformers_tokenizer().encode(text, add_special_tokens=False)
    assert tokenizer("qwen2").encode(text) == expected


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_smollm_text_decodes_to_itself(text: str) -> None:
    assert tokenizer("smollm").decode(tokenizer("smollm").encode(text)) == text


def test_qwen2_composes_letters_and_smollm_does_not() -> None:
    assert tokenizer("qwen2").decode(tokenizer("qwen2").encode("e\u0301")) == "é"
    assert tokenizer("smollm").decode(tokenizer("smollm").encode("e\u0301")) == "e\u0301"


@pytest.mark.parametrize(
    ("pre", "text", "cut"),
    [
        ("qwen2", "I'LL pay 123", ["I", "'LL", " pay", " ", "1", "2", "3"]),
        ("smollm", "I'LL pay 123", ["I", "'", "LL", " pay", " ", "1", "2", "3"]),
        ("smollm", "it's 4x", ["it", "'s", " ", "4", "x"]),
        ("llama-bpe", "I'LL pay 12345", ["I", "'LL", " pay", " ", "123", "45"]),
        ("smaug-bpe", "a  b\n\n 1234", ["a", " ", " b", "\n\n", " ", "123", "4"]),
        ("gpt-2", "I'LL pay 123", ["I", "'", "LL", " pay", " 123"]),
        ("qwen2", "a  b\n\n c", ["a", " ", " b", "\n\n", " c"]),
        ("smollm", "a  b\n\n c", ["a", " ", " b", "\n\n", " c"]),
        ("qwen2", "(x) == y;\n", ["(x", ")", " ==", " y", ";\n"]),
        ("smollm", "(x) == y;\n", ["(", "x", ")", " ==", " y", ";", "\n"]),
    ],
)
def test_pre_tokenizers_split_differently(pre: str, text: str, cut: list[str]) -> None:
    assert pieces(pre, text) == cut


@pytest.mark.parametrize("rule", RULES)
def test_every_name_of_a_pre_tokenizer_is_known(rule: str, tmp_path: Path) -> None:
    for name in RULES[rule].names:
        for text in TEXTS:
            assert tokenizer(name).encode(text) == tokenizer(rule).encode(text)


def test_the_names_of_pre_tokenizers_are_unique() -> None:
    names = [name for rule in RULES.values() for name in rule.names]
    assert len(names) == len(set(names))
    assert all(key in rule.names for key, rule in RULES.items())


def test_a_piece_in_llama_3_s_vocabulary_is_one_token() -> None:
    """``the answer`` has no merges for `` ing``, which ``t h`` and so on would cut otherwise."""
    merges = [merge for merge in VOCABULARY.merges if merge != "th e"]
    metadata = {"tokenizer.ggml.merges": merges}
    with TemporaryDirectory() as folder:
        whole = TextTokenizer(
            read_tokenizer_config(written(Path(folder), pre="llama3", metadata=metadata))
        )
        cut = TextTokenizer(
            read_tokenizer_config(written(Path(folder), pre="qwen2", metadata=metadata))
        )
    the = VOCABULARY.tokens.index("the")
    assert whole.encode("the") == [the]
    assert len(cut.encode("the")) == 2


@pytest.mark.parametrize(
    ("pre", "stated", "begins"),
    [
        ("llama3", None, True),
        ("llama3", False, False),
        ("qwen2", None, False),
        ("deepseek-r1-qwen", True, True),
    ],
)
def test_the_beginning_of_text_follows_the_file_or_else_the_pre_tokenizer(
    pre: str, stated: bool | None, begins: bool, tmp_path: Path
) -> None:
    file = written(tmp_path, pre=pre, metadata={"tokenizer.ggml.add_bos_token": stated})
    bos = VOCABULARY.tokens.index("<|endoftext|>")
    assert read_tokenizer_config(file).begin_ids == ((bos,) if begins else ())


# ------------------------------------------------------------------------------ old files


@pytest.mark.parametrize("stated", [None, "default"])
def test_a_qwen_file_without_a_name_uses_its_family_s_pre_tokenizer(
    stated: str | None, tmp_path: Path
) -> None:
    old = TextTokenizer(
        read_tokenizer_config(written(tmp_path, metadata={"tokenizer.ggml.pre": stated}))
    )
    for text in TEXTS:
        assert old.encode(text) == tokenizer("qwen2").encode(text)


def test_a_llama_file_without_a_name_is_llama_3_or_split_by_default(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "llama.gguf"
    nameless: dict[str, Any] = {"tokenizer.ggml.pre": None}
    write_gguf(path, TinyModel("llama", metadata=nameless))
    old = TextTokenizer(read_tokenizer_config(GGUFFile(path)))
    # Unlike Qwen's, this rule keeps digits together.
    assert old.encode("12") == [VOCABULARY.tokens.index("12")]
    assert "llama.cpp's default rule, so that answers may be worse" in caplog.text
    tokens = [*VOCABULARY.tokens]
    tokens[-2:] = ["<|begin_of_text|>", "<|end_of_text|>"]
    write_gguf(path, TinyModel("llama", metadata=nameless | {"tokenizer.ggml.tokens": tokens}))
    old = TextTokenizer(read_tokenizer_config(GGUFFile(path)))
    for text in TEXTS:
        assert old.encode(text) == tokenizer("llama3").encode(text)
    assert "uses 'llama-bpe', the rule of most models of its family" in caplog.text


def test_missing_token_types_are_inferred(tmp_path: Path) -> None:
    file = written(tmp_path, metadata={"tokenizer.ggml.token_type": None})
    inferred, stated = read_tokenizer_config(file), read_tokenizer_config(written(tmp_path))
    assert inferred.special_ids == stated.special_ids
    assert inferred.control_ids == stated.control_ids
    assert inferred.no_text_ids == stated.no_text_ids


def test_earlier_merges_come_first() -> None:
    ids = tokenizer().encode("the thing is 12")
    names = ["the", "Ġ", "th", "ing", "Ġis", "Ġ", "1", "2"]
    assert [VOCABULARY.tokens[i] for i in ids] == names


def test_invalid_utf8_is_replaced() -> None:
    letters = [VOCABULARY.tokens.index(letter) for letter in ("a", "ð", "b")]
    assert tokenizer().decode(letters) == "a\ufffdb"


# ------------------------------------------------------------------------------ special tokens


@pytest.mark.parametrize("pre", LETTER_RULES)
@pytest.mark.parametrize("name", CONTROL_TOKENS)
def test_a_control_token_s_name_in_text_is_text(pre: str, name: str) -> None:
    special = set(tokenizer(pre).special_ids.values())
    ids = tokenizer(pre).encode(f"say {name}!")
    assert special.isdisjoint(ids)
    assert tokenizer(pre).decode(ids) == f"say {name}!"


@pytest.mark.parametrize("pre", LETTER_RULES)
@pytest.mark.parametrize("name", USER_TOKENS)
def test_an_added_word_in_text_is_one_token(pre: str, name: str) -> None:
    ids = tokenizer(pre).encode(f"say{name}!")
    assert ids == [*map(VOCABULARY.tokens.index, ("s", "a", "y", name, "!"))]
    assert VOCABULARY.tokens.index(name) not in tokenizer(pre).encode_pieces(f"say{name}!")


def test_a_template_s_special_tokens_are_tokens() -> None:
    ids = tokenizer().encode_template("<|im_start|>user\nthe<|im_end|>")
    names = [VOCABULARY.tokens[i] for i in ids]
    assert names == ["<|im_start|>", "u", "s", "e", "r", "Ċ", "the", "<|im_end|>"]


@given(
    st.lists(
        st.sampled_from([*CONTROL_TOKENS, *USER_TOKENS, "<", "<|", "|>", "im_end", "x", "\n", "<<"])
    )
)
def test_text_never_produces_a_control_token(parts: list[str]) -> None:
    text = "".join(parts)
    for ids in (tokenizer().encode(text), tokenizer().encode_template(text, "~" * len(text))):
        assert tokenizer().control_ids.isdisjoint(ids)
        assert tokenizer().decode(ids) == text


def test_the_first_of_overlapping_names_is_found(tmp_path: Path) -> None:
    tokens = list(VOCABULARY.tokens)
    tokens[-2:] = "<ab>", "b>c"
    types = [*VOCABULARY.types[:-2], 4, 3]
    changes = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types}
    odd = TextTokenizer(read_tokenizer_config(written(tmp_path, metadata=changes)))
    assert [tokens[i] for i in odd.encode_template("<ab>c")] == ["<ab>", "c"]
    assert [tokens[i] for i in odd.encode_template("ab>c")] == ["a", "b>c"]


@pytest.mark.parametrize(("kind", "named"), [(2, {}), (1, {"tokenizer.ggml.eos_token_id": -1})])
def test_unknown_and_named_tokens_are_control_tokens(
    kind: int, named: dict[str, Any], tmp_path: Path
) -> None:
    last = len(VOCABULARY) - 1
    types = [*VOCABULARY.types[:-1], kind]
    changes = {"tokenizer.ggml.token_type": types} | dict.fromkeys(named, last)
    found = TextTokenizer(read_tokenizer_config(written(tmp_path, metadata=changes)))
    name = VOCABULARY.tokens[-1]
    assert found.encode_template(name) == [last]
    assert last not in found.encode(name)


@pytest.mark.parametrize("word", ["!", "the"])
def test_a_word_used_as_padding_is_text(word: str, tmp_path: Path) -> None:
    token = VOCABULARY.tokens.index(word)
    changes = {"tokenizer.ggml.padding_token_id": token}
    found = TextTokenizer(read_tokenizer_config(written(tmp_path, metadata=changes)))
    assert found.encode(word) == found.encode_template(word) == [token]
    assert found.decode([token]) == word


def test_control_tokens_are_not_text_and_user_defined_ones_are() -> None:
    special = tokenizer().special_ids
    assert tokenizer().decode(special.values()) == "<tool></tool>"
    assert tokenizer().control_ids == {special[name] for name in CONTROL_TOKENS}


def test_a_text_ends_at_the_tokens_of_the_file_and_the_known_end_names() -> None:
    special = tokenizer().special_ids
    assert tokenizer().stop_ids == {special["<|im_end|>"], special["<|endoftext|>"]}


def test_a_named_end_of_turn_ends_a_text(tmp_path: Path) -> None:
    eot = VOCABULARY.tokens.index("</tool>")
    file = written(tmp_path, metadata={"tokenizer.ggml.eot_token_id": eot})
    assert eot in TextTokenizer(read_tokenizer_config(file)).stop_ids


# -------------------------------------------------------------------------------- bad files


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "rwkv"}, "tokenizer model 'rwkv' is not supported; gpt2, .* server"),
        ({"model": None}, "tokenizer.ggml.model is missing"),
        ({"pre": "mystery"}, "pre-tokenizer 'mystery' is not supported"),
        ({"pre": 3}, "tokenizer.ggml.pre must be a string, not 3"),
        ({"tokens": None}, "tokenizer.ggml.tokens is missing"),
        ({"tokens": [1, 2, 3]}, "must contain only strings"),
        ({"tokens": ["a"] * len(VOCABULARY)}, "tokens has duplicates, or token_type"),
        ({"token_type": [1, 2]}, "tokens has duplicates, or token_type"),
        ({"token_type": "all normal"}, "token_type must be a list"),
        ({"merges": None}, "tokenizer.ggml.merges is missing"),
        ({"merges": [1, 2]}, "must contain only strings"),
        ({"merges": ["nospace"]}, "damaged tokenizer"),
        ({"merges": ["a b c"]}, "damaged tokenizer"),
        ({"merges": ["q z"]}, "damaged tokenizer"),
        ({"add_bos_token": 1}, "add_bos_token must be true or false, not 1"),
        ({"add_bos_token": True, "bos_token_id": None}, "add_bos_token is true, but bos"),
        ({"add_space_prefix": True}, "add_space_prefix is True"),
        ({"remove_extra_whitespaces": True}, "remove_extra_whitespaces is True"),
        ({"normalizer.lowercase": True}, "normalizer.lowercase is True: the key is unknown"),
    ],
)
def test_a_tokenizer_that_cannot_be_read_is_refused(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    metadata = {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
    file = written(tmp_path, metadata=metadata)
    with pytest.raises(ModelError, match=reason):
        TextTokenizer(read_tokenizer_config(file))


def test_a_long_text_is_encoded_like_a_short_one() -> None:
    text = "the answer is 12.\n" * (LONG_TEXT // 18 + 1)
    assert len(text) > LONG_TEXT
    half = text[: 18 * 100]  # ends where a piece does
    expected = tokenizer().encode(half)
    assert tokenizer().encode(text)[: len(expected)] == expected
    assert tokenizer().decode(tokenizer().encode(text)) == text
