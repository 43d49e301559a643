"""Tiny random models of every family: a table, and their files as transformers and llama.cpp's
converter write them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as TensorType
from torch import Tensor
from transformers import PreTrainedModel

SHAPE: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
WINDOW = 24
ORIGINAL = 40
"""Context before the scaling of rotary frequencies; shorter than the texts of the tests."""
Write = Callable[[gguf.GGUFWriter, Any], None]


@dataclass(frozen=True)
class FamilyCase:
    """A model of transformers, and how llama.cpp's converter stores it."""

    prefix: str
    """Of the classes of transformers."""
    config: Mapping[str, Any] = field(default_factory=dict)
    arch: gguf.MODEL_ARCH | None = None
    """Architecture in llama.cpp; None if GGUF files cannot store the model."""
    write: Write = lambda writer, config: None
    """Writes the keys of the family."""
    permutes: bool = False
    """True if the converter interleaves the halves of the heads of q and k."""
    tensors: Callable[[Any], Mapping[str, Tensor]] = lambda config: {}
    """Additional tensors."""


def rope(kind: str, **parameters: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10_000.0, **parameters}}


LLAMA3 = rope(
    "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
    original_max_position_embeddings=ORIGINAL,
)  # fmt: skip
YARN = rope("yarn", factor=4.0, original_max_position_embeddings=ORIGINAL)
LONG = rope(
    "longrope", short_factor=[1.0, 1.0, 1.1, 1.1, 1.3, 1.3],
    long_factor=[1.0, 1.5, 2.5, 4.0, 6.0, 6.0],
    partial_rotary_factor=0.75,
)  # fmt: skip


def _llama3_factors(config: Any) -> Mapping[str, Tensor]:
    """Divisors by the formula of the converter, which stores them instead of the parameters."""
    plain = 10_000.0 ** -(torch.arange(0, 16, 2) / 16)
    found = []
    for wavelength in (2 * math.pi / plain).tolist():
        smooth = (ORIGINAL / wavelength - 1) / 3
        blended = 1 / ((1 - smooth) / 8 + smooth)
        is_short, is_long = wavelength < ORIGINAL / 4, wavelength > ORIGINAL
        found.append(1.0 if is_short else 8.0 if is_long else blended)
    return {"rope_freqs.weight": torch.tensor(found)}


def _linear(writer: gguf.GGUFWriter, config: Any) -> None:
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(4.0)


def _yarn(writer: gguf.GGUFWriter, config: Any) -> None:
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(4.0)
    writer.add_rope_scaling_orig_ctx_len(ORIGINAL)


def _window(writer: gguf.GGUFWriter, config: Any) -> None:
    writer.add_sliding_window(WINDOW)


def _experts(writer: gguf.GGUFWriter, config: Any) -> None:
    writer.add_expert_count(config.num_experts)
    writer.add_expert_used_count(config.num_experts_per_tok)
    writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if hasattr(config, "shared_expert_intermediate_size"):
        writer.add_expert_shared_feed_forward_length(config.shared_expert_intermediate_size)


def _gemma(writer: gguf.GGUFWriter, config: Any) -> None:
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_sliding_window(WINDOW)
    for name, add in (
        ("attn_logit_softcapping", writer.add_attn_logit_softcapping),
        ("final_logit_softcapping", writer.add_final_logit_softcapping),
    ):
        if getattr(config, name):
            add(getattr(config, name))


def _gemma3(writer: gguf.GGUFWriter, config: Any) -> None:
    _gemma(writer, config)
    _linear(writer, config)
    writer.add_rope_freq_base(1_000_000.0)


def _phi3(writer: gguf.GGUFWriter, config: Any) -> None:
    original = config.original_max_position_embeddings
    writer.add_rope_scaling_orig_ctx_len(original)
    writer.add_rope_dimension_count(
        int(16 * config.rope_parameters.get("partial_rotary_factor", 1.0))
    )
    writer.add_sliding_window(config.sliding_window or 0)
    if config.rope_parameters["rope_type"] == "longrope":
        scale = config.max_position_embeddings / original
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(original)))


def _long_factors(config: Any) -> Mapping[str, Tensor]:
    return {
        f"rope_factors_{kind}.weight": torch.tensor(config.rope_parameters[f"{kind}_factor"])
        for kind in ("short", "long")
    }


def _granite(writer: gguf.GGUFWriter, config: Any) -> None:
    writer.add_attention_scale(config.attention_multiplier)
    writer.add_embedding_scale(config.embedding_multiplier)
    writer.add_residual_scale(config.residual_multiplier)
    writer.add_logit_scale(config.logits_scaling)


ARCH = gguf.MODEL_ARCH
GEMMA: dict[str, Any] = {
    "head_dim": 16, "sliding_window": WINDOW, "query_pre_attn_scalar": 16,
}  # fmt: skip
SOFTCAPS = {"attn_logit_softcapping": 1.5, "final_logit_softcapping": 20.0}
GEMMA3_ROPE = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
    "full_attention": {"rope_type": "linear", "rope_theta": 1_000_000.0, "factor": 4.0},
}
EXPERTS: dict[str, Any] = {
    "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 32,
}  # fmt: skip
GRANITE: dict[str, Any] = {
    "attention_multiplier": 0.2, "embedding_multiplier": 3.0, "residual_multiplier": 0.4,
    "logits_scaling": 2.0,
}  # fmt: skip
CASES: dict[str, FamilyCase] = {
    "llama": FamilyCase("Llama", {}, ARCH.LLAMA, permutes=True),
    "llama 3": FamilyCase("Llama", LLAMA3, ARCH.LLAMA, permutes=True, tensors=_llama3_factors),
    "llama with all biases": FamilyCase(
        "Llama", {"attention_bias": True, "mlp_bias": True}, ARCH.LLAMA, permutes=True
    ),
    "llama scaled linearly": FamilyCase(
        "Llama", rope("linear", factor=4.0), ARCH.LLAMA, _linear, permutes=True
    ),
    "llama scaled dynamically": FamilyCase("Llama", rope("dynamic", factor=2.0)),
    "mistral": FamilyCase(
        "Mistral", {"sliding_window": WINDOW}, ARCH.LLAMA, _window, permutes=True
    ),
    "qwen2": FamilyCase("Qwen2", YARN, ARCH.QWEN2, _yarn),
    "qwen2 with windows": FamilyCase(
        "Qwen2", {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}
    ),
    "qwen3": FamilyCase("Qwen3", {"head_dim": 32, "attention_bias": True}, ARCH.QWEN3),
    "qwen2_moe": FamilyCase(
        "Qwen2Moe", EXPERTS | {"shared_expert_intermediate_size": 64}, ARCH.QWEN2MOE, _experts
    ),
    "qwen3_moe": FamilyCase(
        "Qwen3Moe", EXPERTS | {"norm_topk_prob": True, "head_dim": 16}, ARCH.QWEN3MOE, _experts
    ),
    "qwen3_moe with dense layers": FamilyCase(
        "Qwen3Moe",
        EXPERTS | {"head_dim": 16, "decoder_sparse_step": 2, "use_sliding_window": True,
                   "sliding_window": WINDOW},
    ),
    "gemma2": FamilyCase("Gemma2", GEMMA | SOFTCAPS, ARCH.GEMMA2, _gemma),
    "gemma2 of another scale": FamilyCase("Gemma2", GEMMA | {"query_pre_attn_scalar": 4}),
    "gemma3_text": FamilyCase(
        "Gemma3",
        GEMMA | {"num_hidden_layers": 6, "rope_parameters": GEMMA3_ROPE},
        ARCH.GEMMA3,
        _gemma3,
    ),
    "phi3": FamilyCase(
        "Phi3", {"sliding_window": WINDOW, "original_max_position_embeddings": 256}, ARCH.PHI3,
        _phi3,
    ),
    "phi3 of long texts": FamilyCase(
        "Phi3",
        LONG | {"original_max_position_embeddings": ORIGINAL, "tie_word_embeddings": True},
        ARCH.PHI3,
        _phi3,
        tensors=_long_factors,
    ),
    "smollm3": FamilyCase("SmolLM3", {"num_hidden_layers": 4}, ARCH.SMOLLM3, permutes=True),
    "granite": FamilyCase("Granite", GRANITE, ARCH.GRANITE, _granite, permutes=True),
    "olmo2": FamilyCase("Olmo2", {}, ARCH.OLMO2),
}  # fmt: skip


def random_model(case: FamilyCase) -> PreTrainedModel:
    """Return a model whose logits are neither flat nor saturated, with random norms and biases."""
    config = getattr(transformers, f"{case.prefix}{_CONFIG.get(case.prefix, 'Config')}")(
        **SHAPE | dict(case.config)
    )
    config._attn_implementation = "eager"
    model = getattr(transformers, f"{case.prefix}ForCausalLM")(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name:
                parameter.add_(0.1 * noise)
            elif parameter.dim() == 1:
                parameter.copy_(0.2 * noise)
            else:
                size = 1.5 if "embed" in name or "lm_head" in name else parameter.shape[-1] ** -0.5
                parameter.copy_(size * noise)
    return model.eval()


_CONFIG = {"Gemma3": "TextConfig"}


def write_family_gguf(
    path: Path,
    case: FamilyCase,
    model: PreTrainedModel,
    weight_type: TensorType = TensorType.F32,
) -> None:
    """Write a model as llama.cpp's converter does, its weights in a number format."""
    assert case.arch is not None
    config: Any = model.config
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[case.arch])
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    theta = config.rope_parameters.get("rope_theta")
    if theta is not None:
        writer.add_rope_freq_base(theta)
    if getattr(config, "head_dim", None) and case.write is not _gemma3 and case.write is not _gemma:
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    case.write(writer, config)
    names = gguf.get_tensor_name_map(case.arch, config.num_hidden_layers)
    for name, tensor in _stored_tensors(case, model).items():
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert found is not None, name
        stored, kind = _array(tensor), TensorType.F32
        if found.endswith(".weight") and stored.ndim > 1 and weight_type != TensorType.F32:
            stored, kind = gguf.quants.quantize(stored, weight_type), weight_type
        writer.add_tensor(found, stored, raw_dtype=kind)
    for name, tensor in case.tensors(config).items():
        writer.add_tensor(name, _array(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _array(tensor: Tensor) -> Any:
    # The converter drops dimensions of size 1.
    return np.ascontiguousarray(tensor.detach().squeeze().numpy().astype(np.float32))


def _stored_tensors(case: FamilyCase, model: PreTrainedModel) -> dict[str, Tensor]:
    config: Any = model.config
    adds_one = case.prefix.startswith("Gemma")
    found: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if case.permutes and ".q_proj." in name:
            tensor = _interleaved(tensor, config.num_attention_heads)
        if case.permutes and ".k_proj." in name:
            tensor = _interleaved(tensor, config.num_key_value_heads)
        if adds_one and name.endswith("norm.weight"):
            tensor = tensor + 1
        if name.endswith("experts.gate_up_proj"):
            base = name.removesuffix("gate_up_proj")
            gate, up = tensor.chunk(2, dim=1)
            found |= {f"{base}gate_proj.weight": gate, f"{base}up_proj.weight": up}
        elif name.endswith("experts.down_proj"):
            found[f"{name}.weight"] = tensor
        else:
            found[name] = tensor
    return found


def _interleaved(weight: Tensor, num_heads: int) -> Tensor:
    """Return the rows (a0, a1, …, b0, b1, …) of each head in the order (a0, b0, a1, b1, …)."""
    return weight.unflatten(0, (num_heads, 2, -1)).transpose(1, 2).flatten(0, 2)
