"""The compute of local models equals what torch counts when the models run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_doubles import make_request, prompt_of, run_all, tiny_config, tiny_decoder, tiny_engine
from tiny_folders import write_cross_encoder
from tiny_lm_doubles import QUESTION, open_tiny
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, T5Config
from transformers import T5ForConditionalGeneration as T5Model

from archon.engine.encoders.config import EncoderDecoderConfig
from archon.engine.model.decoder_config import ExpertConfig, LayerConfig
from archon.engine.scheduling.choices import score_request
from archon.lm.compute import collect_scored
from archon.lm.local.compute import decoder_compute, encoder_decoder_compute
from archon.lm.local.cross_encoder import CrossEncoder, load
from archon.lm.reward import RewardLM
from archon.spec.model import LocalCard
from archon.types import Message

SPARSE: dict[str, Any] = {
    "family": "qwen2_moe",
    "experts": ExpertConfig(6, 2, 24, shared_width=40),
    "layers": (LayerConfig(None, is_sparse=True), LayerConfig(None)),
}
"""A sparse layer and a dense one."""


def counted(mode: FlopCounterMode, *names: str) -> int:
    """Return the operations of some operators; of all without names."""
    counts = mode.get_flop_counts()["Global"].items()
    return sum(flops for operator, flops in counts if not names or str(operator) in names)


@pytest.mark.parametrize("shape", [{}, SPARSE], ids=["dense", "experts"])
def test_the_products_with_weights_equal_those_that_the_engine_computes(
    shape: dict[str, Any],
) -> None:
    decoder = tiny_decoder(**shape)
    with FlopCounterMode(display=False) as mode:
        ((text,),) = run_all(tiny_engine(decoder), make_request(prompt_of(37), max_tokens=9))
    compute = decoder_compute(decoder.config)
    without_attention = type(compute)(compute.parameters, compute.head_parameters)
    num_tokens = len(text.token_ids)
    expected = without_attention.prompt(37) + without_attention.completion(37, num_tokens)
    assert counted(mode, "aten.mm", "aten.addmm") == expected


def test_products_of_scored_choices_equal_those_that_the_engine_computes() -> None:
    decoder = tiny_decoder()
    choices = [prompt_of(3, 1), prompt_of(3, 2)]
    with FlopCounterMode(display=False) as mode:
        run_all(tiny_engine(decoder), score_request(prompt_of(20), choices))
    compute = decoder_compute(decoder.config)
    products = type(compute)(compute.parameters, compute.head_parameters)
    expected = products.prompt(20) + products.choices(20, num_tokens=6, num_choices=2)
    assert counted(mode, "aten.mm", "aten.addmm") == expected


def test_attention_equals_that_of_transformers() -> None:
    """One token at a time, so that the library attends to no later token."""
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 304}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    config = LlamaConfig(**shape, **heads, attn_implementation="eager")
    ids = torch.tensor([prompt_of(14)])
    with torch.inference_mode():
        model = LlamaForCausalLM(config)
        cache = model(ids[:, :1]).past_key_values
        with FlopCounterMode(display=False) as mode:
            for at in range(1, 14):
                model(ids[:, at : at + 1], past_key_values=cache)
    compute = decoder_compute(tiny_config(family="llama"))
    expected = compute.read(1, 13) + 13 * 2 * compute.head_parameters
    assert counted(mode) == expected


def test_windows_limit_the_attention() -> None:
    layers = (LayerConfig(None, window=8), LayerConfig(None))
    compute = decoder_compute(tiny_config(layers=layers))
    by_token = sum(4 * 32 * (min(t, 8) + t) for t in range(1, 51))
    assert compute.read(0, 50) == 50 * 2 * compute.parameters + by_token
    assert compute.read(0, 50) == compute.read(0, 30) + compute.read(30, 20)


def test_an_encoder_decoder_equals_that_of_transformers() -> None:
    shape = {"d_model": 16, "d_ff": 24, "d_kv": 4, "num_heads": 2, "vocab_size": 50}
    layers = {"num_layers": 2, "num_decoder_layers": 1, "decoder_start_token_id": 0}
    config = T5Config(**shape, **layers, attn_implementation="eager")
    model: PreTrainedModel = T5Model(config)
    source = torch.arange(3, 10)[None]
    with torch.inference_mode(), FlopCounterMode(display=False) as mode:
        model.generate(source, max_new_tokens=5, min_new_tokens=5, do_sample=False)
    ours = EncoderDecoderConfig(
        50, num_encoder_layers=2, num_decoder_layers=1, width=16, ffn_width=24, num_heads=2,
        head_width=4,
    )  # fmt: skip
    compute = encoder_decoder_compute(ours)
    assert counted(mode) == compute.prompt(7) + compute.completion(7, 5)


def test_a_model_of_a_file_knows_its_sizes(tiny_chat_file: Path) -> None:
    lm = open_tiny(tiny_chat_file)
    try:
        assert lm.compute_model == decoder_compute(lm.worker.engine.decoder.config)
        (completion,) = asyncio.run(lm.generate(QUESTION))
    finally:
        asyncio.run(lm.aclose())
    assert completion.usage.prompt_tokens == sum(completion.prompts.values())


def test_a_cross_encoder_reports_its_compute(tmp_path: Path) -> None:
    fields = {"name": "tiny", "backend": "local", "transformer": "cross-encoder"}
    path = write_cross_encoder(tmp_path / "model")
    model = load(LocalCard.model_validate({**fields, "sources": [{"path": str(path)}]}), tmp_path)
    assert isinstance(model, RewardLM)
    encoder = model._model
    assert isinstance(encoder, CrossEncoder)
    with collect_scored() as scored, FlopCounterMode(display=False) as mode:
        encoder._score("the answer", ["one"])
    width, num_classes = encoder._model.classes.in_features, encoder._model.classes.out_features
    head = 2 * width * (width + num_classes)
    assert [texts.compute for texts in scored] == [counted(mode) - head]
    with collect_scored() as by_interface:
        asyncio.run(model.score((Message("user", "the answer"),), ["one"]))
    assert by_interface == scored
