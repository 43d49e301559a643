from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
from engine_doubles import AdaptedWeights
from tiny_folders import write_folder
from tiny_models import TinyModel
from train_doubles import one_text, tiny_config, tiny_decoder

from archon.engine.loading import open_model
from archon.engine.model.decoder import Decoder
from archon.engine.model.lora_config import read_adapter, write_adapter
from archon.engine.model.weights import RandomWeights, weights_of
from archon.engine.perplexity import window_logits
from archon.errors import ModelFileError, UsageError
from archon.train.decoder import TrainableDecoder, decoder_of
from archon.train.lora import LoRALinear, adapter_of, add_adapter

TEXT = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 38, 0]
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"]


def adapted(model: TrainableDecoder, targets: list[str] = ALL) -> TrainableDecoder:
    """Return the same model with an adapter that changes its output."""
    add_adapter(model, targets, rank=3, alpha=5, dropout=0.1, seed=0)
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, LoRALinear):
            torch.nn.init.normal_(module.lora_B.weight, std=0.3, generator=generator)
    return model.eval()


@torch.no_grad()
def test_a_new_adapter_changes_nothing_and_is_trained_alone() -> None:
    model = tiny_decoder()
    before = model.logits(model(*one_text(TEXT)))
    add_adapter(model, ["q_proj", "down_proj"], rank=2, alpha=4, dropout=0.5, seed=0)
    assert torch.equal(model.logits(model(*one_text(TEXT))), before)
    trained = [n for n, p in model.named_parameters() if p.requires_grad]
    assert len(trained) == 2 * 2 * 2
    assert all(".lora_" in name for name in trained)


@torch.no_grad()
def test_merged_equals_unmerged(tmp_path: Path) -> None:
    source = RandomWeights(tiny_config(family="qwen2"))
    model = adapted(decoder_of(source))
    write_adapter(adapter_of(model), tmp_path, base="tiny", dropout=0.1)
    merged = AdaptedWeights(source, read_adapter(tmp_path))
    engine = Decoder(merged, "float32", torch.device("cpu"))
    found = window_logits(engine, engine.new_cache(8), TEXT)
    torch.testing.assert_close(found, model.logits(model(*one_text(TEXT)))[0], atol=1e-4, rtol=1e-4)
    plain = decoder_of(source)
    assert (found - plain.logits(plain(*one_text(TEXT)))[0]).abs().max() > 0.1


@torch.no_grad()
def test_an_adapter_saved_in_bf16_is_rounded_to_nearest(tmp_path: Path) -> None:
    made = adapter_of(adapted(tiny_decoder()))
    for name, dtype in (("wide", torch.float32), ("half", torch.bfloat16)):
        write_adapter(made, tmp_path / name, base="tiny", dtype=dtype)
    wide, half = (read_adapter(tmp_path / name) for name in ("wide", "half"))
    for name, pair in made.pairs.items():
        assert all(map(torch.equal, wide.pairs[name], pair))
        assert all(map(torch.equal, half.pairs[name], (x.bfloat16().float() for x in pair)))


@pytest.mark.parametrize("targets", [ALL, ["q_proj", "v_proj"]])
@torch.no_grad()
def test_peft_computes_the_same_with_a_written_adapter(tmp_path: Path, targets: list[str]) -> None:
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    folder = write_folder(tmp_path / "model", TinyModel("qwen2"))
    model = adapted(decoder_of(weights_of(open_model(folder))), targets)
    write_adapter(adapter_of(model), tmp_path / "adapter", base="tiny")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
        theirs = peft.PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval()
    assert not theirs.peft_config["default"].modules_to_save
    expected = theirs(torch.tensor([TEXT])).logits[0]
    found = model.logits(model(*one_text(TEXT)))[0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_an_adapter_written_by_peft_is_read(tmp_path: Path) -> None:
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    folder = write_folder(tmp_path / "model", TinyModel("llama"))
    config = peft.LoraConfig(
        r=4, lora_alpha=6, target_modules="all-linear", use_rslora=True, init_lora_weights=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = transformers.AutoModelForCausalLM.from_pretrained(folder)
        theirs = peft.get_peft_model(base, config).eval()
        theirs.save_pretrained(tmp_path / "adapter")
    expected = theirs(torch.tensor([TEXT])).logits[0]
    source = AdaptedWeights(weights_of(open_model(folder)), read_adapter(tmp_path / "adapter"))
    engine = Decoder(source, "float32", torch.device("cpu"))
    found = window_logits(engine, engine.new_cache(8), TEXT)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_target_that_matches_no_layer_is_rejected() -> None:
    with pytest.raises(UsageError, match=r"'q_prj'; choose targets from .*q_proj"):
        add_adapter(tiny_decoder(), ["q_prj"], 2, 2, 0, 0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"use_dora": True}, "use_dora is true, but .* has no magnitudes"),
        ({"r": "8"}, "r is '8', not a number above 0"),
        ({"r": 2}, "does not have rank 2"),
        ({"rank_pattern": {"q_proj": 5}}, "q_proj does not have rank 5"),
        (None, "of the adapter is missing"),
    ],
)
def test_an_unsupported_adapter_is_rejected(
    tmp_path: Path, change: dict[str, object] | None, reason: str
) -> None:
    write_adapter(adapter_of(adapted(tiny_decoder())), tmp_path, base="tiny")
    path = tmp_path / "adapter_config.json"
    if change is None:
        path.unlink()
    else:
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelFileError, match=reason):
        read_adapter(tmp_path)


def test_an_adapter_for_another_model_is_rejected(tmp_path: Path) -> None:
    adapter = adapter_of(adapted(tiny_decoder()))
    with pytest.raises(ModelFileError, match=r"model\.layers\.1\."):
        AdaptedWeights(RandomWeights(tiny_config(num_layers=1)), adapter)
    with pytest.raises(ModelFileError, match="for another model"):
        AdaptedWeights(RandomWeights(tiny_config(width=32)), adapter).layer(0)
