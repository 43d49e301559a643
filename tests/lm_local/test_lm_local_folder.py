"""Tokenizer, chat format and samples of a model folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_folders import edit, tiny_tokenizer, write_folder
from tiny_lm_doubles import QUESTION, open_tiny
from tiny_models import CHAT_TEMPLATE, TinyModel, tiny_vocabulary, write_gguf

from archon.engine.loading import open_model
from archon.engine.model.config_keys import GENERATION_KEYS
from archon.errors import ModelFileError
from archon.lm.local.chat import ChatFormat
from archon.lm.local.generation_config import NOT_APPLIED, NOT_READ
from archon.lm.local.tokenizer import TextTokenizer, read_tokenizer_config
from archon.types import Message, SamplingParams

TOKENS = tiny_vocabulary().tokens
CONTROL, WORDS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), ("<tool>", "</tool>")
SPECIAL = (*CONTROL, *WORDS)
OTHER_TEMPLATE = "{% for m in messages %}{{ m.content + eos_token }}{% break %}{% endfor %}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "model", TinyModel("qwen2"))


def chat_of(folder: Path) -> ChatFormat:
    rules = read_tokenizer_config(open_model(folder))
    return ChatFormat(rules, TextTokenizer(rules))


def tokenizer_of(folder: Path) -> TextTokenizer:
    return TextTokenizer(read_tokenizer_config(open_model(folder)))


@cache
def shared_chat() -> ChatFormat:
    with TemporaryDirectory() as folder:
        return chat_of(write_folder(Path(folder), TinyModel("qwen2")))


def edit_model(folder: Path, **changes: Any) -> None:
    """Change keys of the model within tokenizer.json."""
    path = folder / "tokenizer.json"
    edit(path, model=json.loads(path.read_text())["model"] | changes)


# ------------------------------------------------------------------------------ text ↔ ids


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<")))
def test_any_text_is_tokenized_as_by_transformers_and_decodes_to_itself(text: str) -> None:
    tokenizer = shared_chat()._tokenizer
    reference = tiny_tokenizer(CHAT_TEMPLATE)
    ids = tokenizer.encode(text)
    assert ids == reference.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == reference.decode(ids, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize("name", CONTROL)
def test_control_tokens_come_from_templates_and_never_from_text(name: str) -> None:
    tokenizer = shared_chat()._tokenizer
    assert TOKENS.index(name) not in tokenizer.encode(f"say {name}!")
    assert tokenizer.decode(tokenizer.encode(f"say {name}!")) == f"say {name}!"
    assert tokenizer.encode_template(name) == [TOKENS.index(name)]


def test_only_special_tokens_are_not_text() -> None:
    tokenizer = shared_chat()._tokenizer
    assert tokenizer.control_ids == {TOKENS.index(name) for name in SPECIAL[:3]}
    assert tokenizer.decode(map(TOKENS.index, SPECIAL)) == "<tool></tool>"


def test_unused_ids_are_not_text(folder: Path) -> None:
    tokenizer = tokenizer_of(folder)
    assert len(tokenizer.tokens) < len(TOKENS)
    assert tokenizer.token_bytes(len(TOKENS) - 1) == b""


def test_a_piece_equal_to_a_special_token_s_name_is_text(folder: Path) -> None:
    """Some tokenizers look whole pieces up in the vocabulary, special tokens' names included."""
    path = folder / "tokenizer.json"
    stated = json.loads(path.read_text())
    vocab = stated["model"]["vocab"] | {name: TOKENS.index(name) for name in SPECIAL}
    edit_model(folder, ignore_merges=True, vocab=vocab)
    whole = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }
    edit(path, pre_tokenizer=whole)
    tokenizer = tokenizer_of(folder)
    for name in SPECIAL:
        assert (TOKENS.index(name) in tokenizer.encode(name)) == (name in WORDS)
        assert tokenizer.decode(tokenizer.encode(name)) == name


# ------------------------------------------------------------------------------------- chat


@pytest.mark.parametrize("content", ["the answer", " two\n\nlines ", "é 12", ""])
def test_messages_have_the_same_ids_as_in_transformers(content: str) -> None:
    messages = [Message("system", "Be brief."), Message("user", content)]
    turns = [{"role": m.role, "content": m.content} for m in messages]
    expected = tiny_tokenizer(CHAT_TEMPLATE).apply_chat_template(
        turns, add_generation_prompt=True, tokenize=True, return_dict=False
    )
    assert shared_chat().encode(messages) == expected


def test_content_produces_added_words_but_no_control_token() -> None:
    content = "".join(SPECIAL)
    ids = shared_chat().encode([Message("user", content)])
    harmless = shared_chat().encode([Message("user", "x")])
    control, words = (set(map(TOKENS.index, names)) for names in (CONTROL, WORDS))
    assert [i for i in ids if i in control] == [i for i in harmless if i in control]
    assert {i for i in ids if i in words} == words


@pytest.mark.parametrize(
    "template", [OTHER_TEMPLATE, [{"name": "default", "template": OTHER_TEMPLATE}]]
)
def test_a_template_is_found_in_the_tokenizer_s_configuration(template: Any, folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    edit(folder / "tokenizer_config.json", chat_template=template, eos_token={"content": "</tool>"})
    expected = [TOKENS.index("a"), TOKENS.index("</tool>")]
    assert chat_of(folder).encode([Message("user", "a")]) == expected


def test_a_base_model_s_prompt_begins_as_the_tokenizer_states(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    plain = chat_of(folder).encode([Message("user", "a")])
    begin: Mapping[str, Any] = {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}
    template = {"type": "TemplateProcessing", "single": [begin, {"Sequence": {"id": "A"}}]}
    for processor in (template, {"type": "Sequence", "processors": [{"type": "x"}, template]}):
        edit(folder / "tokenizer.json", post_processor=processor)
        begun = chat_of(folder).encode([Message("user", "a")])
        assert begun == [TOKENS.index("<|endoftext|>"), *plain]


@pytest.mark.parametrize(
    ("generation", "config", "expected"),
    [
        ({"eos_token_id": 7}, {"eos_token_id": 8}, {7}),
        ({"eos_token_id": [7, 9]}, {}, {7, 9}),
        ({}, {"eos_token_id": 8}, {8}),
        (None, {"eos_token_id": [8]}, {8}),
        (None, {}, set()),
    ],
)
def test_texts_end_at_the_tokens_that_the_folder_states(
    generation: dict[str, Any] | None, config: dict[str, Any], expected: set[int], folder: Path
) -> None:
    named = {TOKENS.index("<|im_end|>"), TOKENS.index("<|endoftext|>")}
    edit(folder / "config.json", **config)
    (folder / "generation_config.json").unlink()
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    assert tokenizer_of(folder).stop_ids == named | expected


def test_unsupported_generation_settings_are_reported_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    generation = {
        "repetition_penalty": 1.1, "no_repeat_ngram_size": 0, "temperature": 0.6, "top_p": 0.9,
        "typical_p": 1.0, "suppress_tokens": [3], "begin_suppress_tokens": None, "unheard_of": 5,
        "also_unheard_of": False, "_from_model_config": True,
    }  # fmt: skip
    edit(folder / "generation_config.json", **generation)
    for _ in range(2):
        tokenizer_of(folder)
    [message] = caplog.messages
    assert message.endswith("does not apply suppress_tokens [3], unheard_of 5")


def test_every_generation_key_is_applied_reported_or_a_recommendation() -> None:
    assert NOT_APPLIED.keys() | NOT_READ | {"eos_token_id"} == GENERATION_KEYS
    assert NOT_APPLIED.keys() <= GENERATION_KEYS


# ------------------------------------------------------------------------------------ draws


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
async def test_a_folder_and_a_file_of_the_same_model_answer_alike(
    family: Any, tmp_path: Path
) -> None:
    model = TinyModel(family, own_head_width=10)
    write_gguf(tmp_path / "model.gguf", model)
    request = QUESTION.__class__(QUESTION.messages, sampling=SamplingParams(0, max_tokens=30))
    texts = []
    for path in (tmp_path / "model.gguf", write_folder(tmp_path / "model", model)):
        lm = open_tiny(path)
        texts.append((await lm.generate(request))[0].text)
        await lm.aclose()
    assert texts[0] == texts[1]
    assert len(texts[0]) > 5


# -------------------------------------------------------------------------------- bad files


def test_a_folder_without_a_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelFileError, match=r"the folder has no tokenizer\.json"):
        tokenizer_of(folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": None}, "tokenizer model None is not supported"),
        ({"model": {"type": "Unigram", "vocab": {}}}, "vocab is missing"),
        ({"model": {"type": "WordPiece", "vocab": []}}, "vocab is missing"),
        ({"model": {"type": "Mystery", "vocab": {}}}, "'Mystery' is not supported; BPE, Unigram"),
        ({"model": {"type": "Unigram", "vocab": [["a", 0]], "unk_id": 3}}, "damaged tokenizer"),
        ({"pre_tokenizer": {"type": "Mystery", "of": {"type": "ByteLevel"}}}, "damaged tokenizer"),
        ({"added_tokens": [{"id": 1}]}, "lacks a valid id or text"),
        ({"added_tokens": [{"id": -1, "content": "x"}]}, "lacks a valid id or text"),
        ({"added_tokens": {"x": 1}}, "lacks a valid id or text"),
    ],
)
def test_a_tokenizer_that_cannot_be_read_is_refused(
    changes: dict[str, Any], reason: str, folder: Path
) -> None:
    edit(folder / "tokenizer.json", **changes)
    with pytest.raises(ModelFileError, match=rf"tokenizer\.json: .*{reason}"):
        tokenizer_of(folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"merges": {}}, "merges is not a list"),
        ({"vocab": None}, "vocab is missing"),
        ({"vocab": {"a": "b"}}, "vocab is missing or does not map"),
        ({"merges": [["q", "zz"]]}, "damaged tokenizer"),
    ],
)
def test_a_damaged_vocabulary_is_refused(
    changes: dict[str, Any], reason: str, folder: Path
) -> None:
    edit_model(folder, **changes)
    with pytest.raises(ModelFileError, match=reason):
        tokenizer_of(folder)


@pytest.mark.parametrize(
    ("name", "key", "value", "reason"),
    [
        ("generation_config.json", "eos_token_id", "end", r"generation_config\.json: eos_token_id"),
        ("generation_config.json", "eos_token_id", [1, None, "x"], "must be a token id"),
        ("tokenizer_config.json", "chat_template", 3, "chat_template must be a string"),
    ],
)
def test_the_error_names_an_invalid_key(
    name: str, key: str, value: Any, reason: str, folder: Path
) -> None:
    (folder / "chat_template.jinja").unlink()
    edit(folder / name, **{key: value})
    with pytest.raises(ModelFileError, match=reason):
        tokenizer_of(folder)


def test_a_damaged_template_is_refused(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{% if %}")
    with pytest.raises(ModelFileError, match="damaged chat template"):
        chat_of(folder)


def test_fewer_embeddings_than_tokens_are_refused(folder: Path) -> None:
    edit(folder / "tokenizer.json", added_tokens=[{"id": 5000, "content": "far"}])
    with pytest.raises(ModelFileError, match="5001 tokens, but the model has only 288 embeddings"):
        open_tiny(folder)
