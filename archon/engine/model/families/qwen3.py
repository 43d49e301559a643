"""Qwen3 (Yang et al. 2025, arXiv 2505.09388): q and k are normalised per head."""

from archon.engine.model.families.traits import BIASES, PRE_NORMS, FamilyTraits

QWEN3 = FamilyTraits(
    name="qwen3",
    hf_class="Qwen3",
    norms=PRE_NORMS,
    qk_norm="head",
    biases=BIASES,
    requires_head_dim=True,
    window_is_opt_in=True,
    gguf_tokenizer="qwen2",
)
