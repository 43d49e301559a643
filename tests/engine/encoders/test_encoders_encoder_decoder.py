from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from archon.engine.encoders.encoder_decoder import EncoderDecoder
from archon.engine.encoders.weights import load_encoder_decoder, save_encoder_decoder
from archon.engine.files.folder import ModelFolder
from archon.errors import ModelFileError

transformers = pytest.importorskip("transformers")

VARIANTS = {
    "relu": {"feed_forward_proj": "relu", "tie_word_embeddings": True},
    "gated": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
}


@pytest.fixture(params=VARIANTS)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, EncoderDecoder]:
    """Return models with the same random weights, of transformers and of the engine."""
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=50, d_model=24, d_kv=8, d_ff=40, num_layers=2, num_decoder_layers=3,
        num_heads=4, relative_attention_num_buckets=8, relative_attention_max_distance=12,
        decoder_start_token_id=0, **VARIANTS[request.param],
    )  # fmt: skip
    theirs = transformers.T5ForConditionalGeneration(config).eval()
    for name, weight in theirs.named_parameters():
        if "relative_attention_bias" in name or "layer_norm" in name:
            weight.data += torch.randn_like(weight)
    theirs.save_pretrained(tmp_path)
    return theirs, load_encoder_decoder(ModelFolder(tmp_path))


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(2, 50, (3, 19), generator=generator)
    is_token = torch.arange(19)[None] < torch.tensor([19, 7, 13])[:, None]
    return source * is_token, is_token, torch.randint(2, 50, (3, 17), generator=generator)


@torch.no_grad()
def test_logits_equal_those_of_transformers(pair: tuple[Any, EncoderDecoder]) -> None:
    theirs, ours = pair
    source, is_token, target = batch()
    expected = theirs(
        input_ids=source, attention_mask=is_token.long(), decoder_input_ids=target
    ).logits
    torch.testing.assert_close(ours(source, is_token, target), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_head_in_a_file_that_calls_it_tied_is_used_as_transformers_uses_it(
    variant: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    options = {**VARIANTS[variant], "tie_word_embeddings": False}
    config = transformers.T5Config(
        vocab_size=50, d_model=24, d_kv=8, d_ff=40, num_layers=1, num_heads=4, **options
    )
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    stated = json.loads((tmp_path / "config.json").read_text()) | {"tie_word_embeddings": True}
    (tmp_path / "config.json").write_text(json.dumps(stated))
    theirs = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path).eval()
    ours = load_encoder_decoder(ModelFolder(tmp_path))
    source, is_token, target = batch()
    expected = theirs(
        input_ids=source, attention_mask=is_token.long(), decoder_input_ids=target
    ).logits
    torch.testing.assert_close(ours(source, is_token, target), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_saved_model_is_read_back_unchanged(
    pair: tuple[Any, EncoderDecoder], tmp_path: Path
) -> None:
    _, ours = pair
    save_encoder_decoder(ours, tmp_path / "again")
    again = load_encoder_decoder(ModelFolder(tmp_path / "again"))
    assert again.config == ours.config
    torch.testing.assert_close(again(*batch()), ours(*batch()))


def test_an_error_names_a_tensor_of_the_wrong_shape(
    pair: tuple[Any, EncoderDecoder], tmp_path: Path
) -> None:
    _, ours = pair
    save_encoder_decoder(ours, tmp_path / "again")
    ours.config = replace(ours.config, ffn_width=41)
    other = EncoderDecoder(ours.config)
    (tmp_path / "other").mkdir()
    save_encoder_decoder(other, tmp_path / "other")
    (tmp_path / "again" / "config.json").write_bytes(
        (tmp_path / "other" / "config.json").read_bytes()
    )
    with pytest.raises(ModelFileError, match=r"encoder\.block\.0\.layer\.1\.DenseReluDense"):
        load_encoder_decoder(ModelFolder(tmp_path / "again"))
