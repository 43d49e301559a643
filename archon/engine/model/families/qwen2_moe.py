"""Qwen1.5-MoE and Qwen2-MoE (Yang et al. 2024, arXiv 2407.10671): experts, and a shared network."""

from dataclasses import replace

from archon.engine.model.config_keys import CONFIG_RULES
from archon.engine.model.families.layer_patterns import alternating_lower_layers
from archon.engine.model.families.traits import (
    EXPERTS,
    PRE_NORMS,
    QKV_BIASES,
    SHARED_EXPERT,
    FamilyTraits,
)

QWEN2_MOE = FamilyTraits(
    name="qwen2_moe",
    hf_class="Qwen2Moe",
    gguf_name="qwen2moe",
    norms=PRE_NORMS,
    biases=QKV_BIASES,
    always_biased=True,
    experts={**EXPERTS, **SHARED_EXPERT},
    sliding_layers=alternating_lower_layers,
    window_is_opt_in=True,
    defaults={"sliding_window": 4096},
    base_rules=replace(CONFIG_RULES, neutral={**CONFIG_RULES.neutral, "qkv_bias": (True,)}),
)
