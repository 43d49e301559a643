"""Qwen2 and Qwen2.5 (Yang et al. 2024, arXiv 2407.10671): q, k and v have biases."""

from archon.engine.model.families.traits import BIASES, PRE_NORMS, FamilyTraits

QWEN2 = FamilyTraits(
    name="qwen2",
    hf_class="Qwen2",
    norms=PRE_NORMS,
    biases=BIASES,
    always_biased=True,
    window_is_opt_in=True,
    gguf_tokenizer="qwen2",
)
