"""Qwen2 and Qwen2.5 (Yang et al. 2024, arXiv 2407.10671): q, k and v have biases."""

from archon.engine.model.families.layer_patterns import upper_layers
from archon.engine.model.families.traits import PRE_NORMS, QKV_BIASES, FamilyTraits

QWEN2 = FamilyTraits(
    name="qwen2",
    hf_class="Qwen2",
    norms=PRE_NORMS,
    biases=QKV_BIASES,
    always_biased=True,
    sliding_layers=upper_layers,
    window_is_opt_in=True,
    defaults={"sliding_window": 4096},
)
