"""Llama 1 to 3 (Touvron et al. 2023, arXiv 2302.13971; Llama team 2024, arXiv 2407.21783) and
models of the same architecture, such as SmolLM2."""

from archon.engine.model.families.traits import (
    ATTENTION_BIASES,
    FFN_BIASES,
    PRE_NORMS,
    FamilyTraits,
)

LLAMA = FamilyTraits(
    name="llama",
    hf_class="Llama",
    norms=PRE_NORMS,
    biases={**ATTENTION_BIASES, **FFN_BIASES},
    gguf_interleaves_rope=True,
    gguf_window_period=0,  # of Mistral, whose GGUF files have this name
)
