"""Added tokens are found as transformers finds them, with all their flags."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from chat_styles import CONTROL, STYLES, WORDS, added, write_text_files
from hypothesis import given
from hypothesis import strategies as st
from prompt_doubles import Pair, open_pair, pair
from tokenizers.normalizers import NFKC, Lowercase, Sequence

from archon.errors import ModelFileError
from archon.lm.local.tokenizer.added_tokens import AddedToken, AddedTokenFinder
from archon.types import Message

FLAGS = ("lstrip", "rstrip", "single_word", "normalized")
TEXTS = (
    "a [w] b", "[w]", " \n[w]\t [w] ", "a[w]b", "[w][w]", "[W] ｗ [ｗ]", "éé [w] é", "x[w]. [w]!",
    "[w]<think>[w]", "  [w]\n\n<think> ", "[[w]]", "[w", "",
)  # fmt: skip


def encoded(both: Pair, text: str) -> list[int]:
    return both.theirs.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("flags", list(product([False, True], repeat=4)), ids=str)
def test_flags_mean_what_they_mean_in_transformers(
    flags: tuple[bool, ...], special: bool, tmp_path: Path
) -> None:
    row = added("[w]", 0, special=special, **dict(zip(FLAGS, flags, strict=True)))
    both = open_pair(write_text_files(tmp_path, None, rows=(row,)), "")
    tokenizer = both.ours._tokenizer
    for text in TEXTS:
        assert tokenizer.encode_template(text) == encoded(both, text), text
        expected = encoded(both, text)
        if not special:
            assert tokenizer.encode(text) == expected
        else:
            assert tokenizer.control_ids.isdisjoint(tokenizer.encode(text))


@given(st.lists(st.sampled_from([*CONTROL, *WORDS, *" \n<>|[]ax", "<|", "<tool_"])).map("".join))
def test_a_template_s_text_is_tokenized_as_by_transformers(text: str) -> None:
    both = pair(STYLES["chatml"])
    assert both.ours._tokenizer.encode_template(text) == encoded(both, text)


def test_the_longest_and_then_the_first_name_is_found() -> None:
    finder = AddedTokenFinder(
        [AddedToken(text, i, is_control=False) for i, text in enumerate(("ab", "abc", "cd", "c"))],
        None,
    )
    assert [(m.token.text, m.start, m.end) for m in finder.find("éab abcd cd")] == [
        ("ab", 1, 3), ("abc", 4, 7), ("cd", 9, 11),
    ]  # fmt: skip


def test_normalized_names_have_positions_in_the_original_text() -> None:
    token = AddedToken("end", 7, is_control=False, normalized=True)
    finder = AddedTokenFinder([token], Sequence([NFKC(), Lowercase()]))
    assert [(m.start, m.end) for m in finder.find("the ＥＮＤ")] == [(4, 7)]


def test_normalizing_content_produces_no_control_token(tmp_path: Path) -> None:
    row = added("[end]", 0, special=True, normalized=True)
    write_text_files(tmp_path, "{{ messages[0].content }}[end]", rows=(row,))
    stated = json.loads((tmp_path / "tokenizer.json").read_text())
    stated["normalizer"] = {"type": "NFKC"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(stated))
    ours = open_pair(tmp_path, "").ours
    control = ours._tokenizer.control_ids
    for content in ("［end］", "[end]", "［ｅｎｄ]"):
        ids = ours.encode([Message("user", content)])
        assert sum(i in control for i in ids) == 1, content


# ------------------------------------------------------------------ what the files say of them


@pytest.mark.parametrize(
    "config",
    [
        {"added_tokens_decoder": {"300": added("<think>", 0, special=True)}},
        {"additional_special_tokens": ["<think>"]},
        {"extra_special_tokens": ["<think>"]},
        {"mask_token": "<think>"},
        {"eos_token": "<think>"},
    ],
)
def test_the_configuration_may_declare_a_word_as_control_token(
    config: dict[str, Any], tmp_path: Path
) -> None:
    write_text_files(tmp_path, None)
    stated = json.loads((tmp_path / "tokenizer.json").read_text())
    [think] = [row["id"] for row in stated["added_tokens"] if row["content"] == "<think>"]
    rows = config.get("added_tokens_decoder", {})
    config = config | ({"added_tokens_decoder": {str(think): rows["300"]}} if rows else {})
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = open_pair(tmp_path, "").ours._tokenizer
    assert think in tokenizer.control_ids
    assert tokenizer.encode_template("<think>") == [think]
    assert think not in tokenizer.encode("<think>")


def test_a_named_word_of_the_vocabulary_is_a_control_token(tmp_path: Path) -> None:
    write_text_files(tmp_path, None)
    path = tmp_path / "tokenizer.json"
    stated = json.loads(path.read_text())
    stated["model"]["vocab"]["[END]"] = 400
    path.write_text(json.dumps(stated))
    for name, expected in (("[END]", True), ("the", False), ("!", False)):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": name}))
        both = open_pair(tmp_path, "")
        tokenizer = both.ours._tokenizer
        assert tokenizer.encode_template(name) == encoded(both, name)
        assert tokenizer.encode(name) != encoded(both, name) or not expected
        assert tokenizer.control_ids.isdisjoint(tokenizer.encode(name))


@pytest.mark.parametrize(
    "decoder", [{"x": {"content": "a"}}, {"1": "a"}, {"1": {"content": 3}}, [1, 2]]
)
def test_damaged_added_tokens_are_refused(decoder: Any, tmp_path: Path) -> None:
    write_text_files(tmp_path, None)
    config = {"added_tokens_decoder": decoder}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match=r"tokenizer_config\.json: added"):
        open_ours(tmp_path)


def open_ours(folder: Path) -> None:
    from archon.engine.files.folder import ModelFolder
    from archon.lm.local.tokenizer.folder import tokenizer_config_of_folder

    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    tokenizer_config_of_folder(ModelFolder(folder))
