"""Qwen3 (Yang et al. 2025, arXiv 2505.09388): q and k are normalised per head."""

from archon.engine.model.families.layer_patterns import upper_layers
from archon.engine.model.families.traits import ATTENTION_BIASES, PRE_NORMS, FamilyTraits

QWEN3 = FamilyTraits(
    name="qwen3",
    hf_class="Qwen3",
    norms=PRE_NORMS,
    qk_norm="head",
    biases=ATTENTION_BIASES,
    requires_head_dim=True,
    sliding_layers=upper_layers,
    window_is_opt_in=True,
    defaults={"sliding_window": 4096},
)
