"""Mistral's tekken.json: encodes as transformers' conversion of the same file."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hostile_texts import hostile_texts
from transformers.integrations.mistral.tokenizer import MistralConverter

from archon.errors import ModelFileError
from archon.lm.local.tokenizer import TextTokenizer, TokenizerConfig, read_tokenizer_config
from archon.lm.local.transformers_fallback import FolderFiles

PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{M}]*[\p{Ll}\p{Lo}\p{M}]+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MERGED = ("th", "the", " the", "he", "e ", "in", "ing", " th", "\n\n", "  ", "12", "é", "你", " t")
SPECIAL = ("<unk>", "<s>", "</s>", "[INST]", "[/INST]")
NUM_SPECIAL = 8


def contents() -> dict[str, Any]:
    tokens = [bytes([byte]) for byte in range(256)] + [text.encode() for text in MERGED]
    rows = [
        {"rank": i, "token_bytes": base64.b64encode(token).decode(), "token_str": None}
        for i, token in enumerate(tokens)
    ]
    size = NUM_SPECIAL + len(rows) - 1  # the last one is beyond the vocabulary
    config = {
        "pattern": PATTERN, "default_vocab_size": size, "default_num_special_tokens": NUM_SPECIAL,
    }  # fmt: skip
    special = [{"rank": i, "token_str": text, "is_control": True} for i, text in enumerate(SPECIAL)]
    return {"config": config, "vocab": rows, "special_tokens": special}


def read(path: Path, stated: dict[str, Any]) -> TokenizerConfig:
    (path / "config.json").write_text(json.dumps({"model_type": "mistral", "eos_token_id": 2}))
    (path / "tekken.json").write_text(json.dumps(stated))
    (path / "chat_template.jinja").write_text("{{ bos_token }}{{ messages }}")
    return read_tokenizer_config(FolderFiles(path))


def test_texts_are_encoded_as_by_transformers(tmp_path: Path) -> None:
    tokenizer = TextTokenizer(read(tmp_path, contents()))
    theirs = MistralConverter(str(tmp_path / "tekken.json")).converted()
    for text in (*hostile_texts(), "the thing in the  éthe 12 12", "\n\n the\n\nin"):
        if not any(name in text for name in SPECIAL):
            assert tokenizer.encode(text) == theirs.encode(text, add_special_tokens=False).ids


def test_special_tokens_have_the_first_ids(tmp_path: Path) -> None:
    config = read(tmp_path, contents())
    assert len(config.tokens) == NUM_SPECIAL + 255 + len(MERGED)
    assert (config.begin_ids, config.stop_ids) == ((1,), {2})
    assert config.template_tokens == {"bos_token": "<s>", "eos_token": "</s>"}
    assert config.special_ids["[INST]"] == 3
    assert config.special_ids["<SPECIAL_7>"] == 7
    assert config.control_ids == frozenset(range(NUM_SPECIAL))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": {}}, "config.pattern is missing"),
        ({"special_tokens": None}, "special_tokens is missing.*mistral-common"),
        ({"vocab": [{"rank": 0}]}, "a token is malformed"),
        ({"vocab": [{"token_bytes": "&"}]}, "a token is malformed"),
        ({"vocab": None}, "vocab is missing"),
    ],
)
def test_damaged_files_are_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=rf"tekken\.json: {message}"):
        read(tmp_path, contents() | changes)
