"""Mixtures of experts in the compiled kernels, and how their weights are read."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from engine_doubles import CPU, PACKABLE, native_kernels, prompt_of, tiny_config
from family_models import CASES, random_model, write_family_gguf
from gguf import GGMLQuantizationType as TensorType
from model_doubles import our_logits, weights_of

from archon.engine.files.gguf import GGUFFile
from archon.engine.kernels.native import NativeDecoder
from archon.engine.kernels.packing import can_pack, load_packed
from archon.engine.loading import load_decoder, open_model
from archon.engine.model.config import DecoderConfig, ExpertConfig, LayerConfig
from archon.engine.model.outlier_rotation import OutlierRotatedWeights
from archon.engine.model.precision import Precision
from archon.engine.model.rope import Rope
from archon.engine.model.weights import RandomWeights, WeightSource, layer_shapes
from archon.engine.model.weights import weights_of as weights_of_any
from archon.engine.span import Span
from archon.lm.model_facts import facts_of_files

SPARSE, DENSE = LayerConfig(Rope(16), is_sparse=True), LayerConfig(Rope(16))
EXPERTS = ExpertConfig(num_experts=20, num_used=3, width=32, shared_width=64, normalises=True)
FFN_FIELDS = ("gate", "up", "down")
NATIVE_PRECISIONS: tuple[Precision, ...] = ("int8", "int4", "native")


def config_of(experts: ExpertConfig, *layers: LayerConfig) -> DecoderConfig:
    layers = layers or (SPARSE, DENSE, SPARSE)
    return tiny_config(
        family="qwen2_moe" if experts.shared_width else "qwen3_moe",
        num_layers=len(layers), layers=layers, experts=experts, **PACKABLE,
    )  # fmt: skip


@pytest.fixture
def threads() -> Iterator[None]:
    """Restore the number of threads."""
    count = torch.get_num_threads()
    yield
    torch.set_num_threads(count)


@pytest.mark.usefixtures("instructions")
@pytest.mark.parametrize(
    ("experts", "precision"),
    [
        (EXPERTS, "int8"),
        (replace(EXPERTS, normalises=False), "int4"),
        (replace(EXPERTS, shared_width=0, num_experts=7, num_used=7), "int8"),
        (replace(EXPERTS, shared_width=0, num_experts=16, num_used=1, width=96), "int8"),
    ],
    ids=["shared", "unnormalised", "all used", "one used"],
)
def test_kernels_compute_the_experts_that_torch_does(
    experts: ExpertConfig, precision: Precision
) -> None:
    """Where rounding selects other experts, a token differs more; so half of them are compared."""
    native_kernels()
    source, prompt = RandomWeights(config_of(experts, SPARSE)), prompt_of(60)
    plain = load_decoder(source, precision, CPU, native=False)
    decoder = load_decoder(source, precision, CPU)
    assert isinstance(decoder, NativeDecoder)
    expected = our_logits(plain, prompt)
    error_T = (our_logits(decoder, prompt) - expected).square().mean(-1)
    assert error_T.median().sqrt() <= 0.05 * expected.std()


@pytest.mark.usefixtures("instructions", "threads")
@pytest.mark.parametrize("precision", NATIVE_PRECISIONS)
def test_a_row_is_the_same_to_the_bit_whichever_experts_the_others_use(
    precision: Precision,
) -> None:
    native_kernels()
    decoder = load_decoder(RandomWeights(config_of(EXPERTS)), precision, CPU)
    prompts = [prompt_of(1 + 3 * i % 31, seed=i) for i in range(20)]
    spans = [
        Span(prompt, 0, (array("i", (2 * i, 2 * i + 1)),), 0, len(prompt))
        for i, prompt in enumerate(prompts)
    ]
    torch.set_num_threads(2)
    together = decoder(spans, decoder.new_cache(40)).clone()
    torch.set_num_threads(1)
    alone = [decoder([span], decoder.new_cache(40)).clone() for span in spans]
    assert torch.equal(together, torch.cat(alone))


def test_shapes_that_the_kernels_compute() -> None:
    shape = config_of(EXPERTS, SPARSE, SPARSE)
    assert can_pack(shape)
    assert can_pack(replace(shape, ffn_width=10))  # no layer has this width
    assert not can_pack(replace(shape, ffn_width=10, layers=(SPARSE, DENSE)))
    assert not can_pack(replace(shape, experts=replace(EXPERTS, width=24)))
    assert not can_pack(replace(shape, experts=replace(EXPERTS, shared_width=24)))


@pytest.mark.parametrize("precision", NATIVE_PRECISIONS)
def test_experts_are_read_one_at_a_time(
    precision: Precision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float32, all experts of a layer may need more memory than the whole file."""
    path, case = tmp_path / "model.gguf", CASES["qwen2_moe"]
    write_family_gguf(path, case, random_model(case), TensorType.Q4_0)
    source: WeightSource = weights_of(path)
    if precision != "native":
        source = OutlierRotatedWeights(source)
    read_tensor, read_blocks = GGUFFile.tensor, GGUFFile.blocks

    def tensor(self: GGUFFile, name: str) -> torch.Tensor:
        assert "_exps" not in name
        return read_tensor(self, name)

    def blocks(self: GGUFFile, name: str, row: int | None = None) -> torch.Tensor:
        assert row is not None or "_exps" not in name
        return read_blocks(self, name, row)

    monkeypatch.setattr(GGUFFile, "tensor", tensor)
    monkeypatch.setattr(GGUFFile, "blocks", blocks)
    packed = load_packed(source, precision, None)
    assert sum("experts" in name and name.endswith(".weight") for name in packed) == 4
    if precision == "native":
        weights = [tensor for name, tensor in packed.items() if name.endswith(".weight")]
        infos = GGUFFile(path).tensors.values()
        stored = [i.num_bytes for i in infos if i.format.name == "Q4_0" and "_inp" not in i.name]
        assert sum(map(len, weights)) == sum(stored)  # all but those of the routers


@pytest.mark.parametrize(
    ("name", "format"),
    [("qwen2_moe", "folder"), ("qwen2_moe", "gguf"), ("qwen3_moe with dense layers", "folder")],
)
def test_estimates_of_memory_count_the_weights_of_all_experts(
    name: str, format: str, tmp_path: Path
) -> None:
    case = CASES[name]
    more = {"num_hidden_layers": 5, "mlp_only_layers": [0, 3]} if format == "folder" else {}
    path, case = tmp_path / "model", replace(case, config={**case.config, **more})
    if format == "gguf":
        write_family_gguf(path, case, random_model(case))
    else:
        random_model(case).save_pretrained(path)
    config, total = weights_of_any(open_model(path)).config, 0
    for index in range(config.num_layers):
        shapes = layer_shapes(config, index)
        total += sum(math.prod(s) for field, s in shapes.items() if field.endswith(FFN_FIELDS))
    memory = [facts_of_files(path, precision).memory_bytes for precision in ("int8", "int4")]
    assert memory[0] is not None
    assert memory[1] is not None
    assert memory[0][1] - memory[1][1] == round((1 - 0.5 - 4 / 32) * total)
