"""Sentence encoders are pooled as their folder says, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from archon.engine.files.folder import ModelFolder
from archon.errors import ModelFileError
from archon.lm.local.sentence_encoder import SentenceEncoder, pooling_of


def module(kind: str, path: str) -> dict[str, str]:
    return {"path": path, "type": f"sentence_transformers.models.{kind}"}


MODULES = [
    module("Transformer", ""), module("Pooling", "1_Pooling"), module("Normalize", "2_Normalize"),
]  # fmt: skip


def write(path: Path, **files: Any) -> ModelFolder:
    """A folder with these JSON files; ``pooling`` is that of the module's own folder."""
    (path / "config.json").write_text("{}")
    save_file({"x": torch.zeros(1)}, path / "model.safetensors")
    (path / "1_Pooling").mkdir()
    places = {
        "modules": "modules.json",
        "pooling": "1_Pooling/config.json",
        "prompts": "config_sentence_transformers.json",
    }
    for name, content in files.items():
        (path / places[name]).write_text(json.dumps(content))
    return ModelFolder(path)


@pytest.mark.parametrize(
    ("files", "pooling"),
    [
        ({}, "mean"),
        ({"modules": MODULES}, "mean"),
        ({"pooling": {"pooling_mode_cls_token": True}}, "cls"),
        ({"modules": MODULES, "pooling": {"pooling_mode_cls_token": True}}, "cls"),
        (
            {"pooling": {"word_embedding_dimension": 8, "pooling_mode_cls_token": False,
                         "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False}},
            "mean",
        ),
        ({"pooling": {"pooling_mode_mean_sqrt_len_tokens": True}}, "mean"),
        ({"pooling": {"pooling_mode": "cls"}}, "cls"),
        ({"prompts": {"prompts": {"query": "query: "}, "default_prompt_name": None}}, "mean"),
    ],
)  # fmt: skip
def test_the_pooling_is_read(files: dict[str, Any], pooling: str, tmp_path: Path) -> None:
    assert pooling_of(write(tmp_path, **files)) == pooling


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"pooling": {"pooling_mode_lasttoken": True}}, "pooling by 'lasttoken'"),
        ({"pooling": {"pooling_mode": "max"}}, "pooling by 'max'"),
        (
            {"pooling": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}},
            "'cls_token' and 'mean_tokens'",
        ),
        (
            {"modules": [*MODULES, module("Dense", "3_Dense")]},
            "type 'Dense'",
        ),
        ({"modules": [module("Pooling", "../x")]}, "'../x'"),
        ({"modules": {"no": "list"}}, "must be a list"),
        ({"prompts": {"default_prompt_name": "query"}}, "must be null, not 'query'"),
    ],
)  # fmt: skip
def test_unsupported_poolings_are_refused(
    files: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelFileError, match=reason):
        pooling_of(write(tmp_path, **files))


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_vectors_follow_the_pooling(pooling: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizer(str(tmp_path / "vocab.txt"))
    tokenizer.save_pretrained(tmp_path)
    config = transformers.BertConfig(
        vocab_size=13, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, max_position_embeddings=16, initializer_range=1.0,
    )  # fmt: skip
    model = transformers.BertModel(config).eval()
    model.save_pretrained(tmp_path)
    (tmp_path / "1_Pooling").mkdir()
    key = "pooling_mode_cls_token" if pooling == "cls" else "pooling_mode_mean_tokens"
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({key: True}))
    encoded = tokenizer("a b c", return_tensors="pt")
    with torch.no_grad():
        hidden_TE = model(**encoded).last_hidden_state[0]
    expected_E = hidden_TE[0] if pooling == "cls" else hidden_TE.mean(0)
    [vector_E] = SentenceEncoder.of(ModelFolder(tmp_path)).vectors(["a b c"])
    assert torch.allclose(vector_E, expected_E / expected_E.norm(), atol=1e-5)
