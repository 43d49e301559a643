"""Qwen3-MoE (Yang et al. 2025, arXiv 2505.09388): Qwen3 with experts and no shared network."""

from archon.engine.model.families.layer_patterns import every_layer
from archon.engine.model.families.traits import (
    ATTENTION_BIASES,
    EXPERTS,
    PRE_NORMS,
    FamilyTraits,
)

QWEN3_MOE = FamilyTraits(
    name="qwen3_moe",
    hf_class="Qwen3Moe",
    gguf_name="qwen3moe",
    norms=PRE_NORMS,
    qk_norm="head",
    biases=ATTENTION_BIASES,
    experts=EXPERTS,
    gguf_normalises_experts=True,
    requires_head_dim=True,
    sliding_layers=every_layer,
    window_is_opt_in=True,
    defaults={"sliding_window": 4096},
)
