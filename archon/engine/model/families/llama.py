"""Llama (Touvron et al. 2023, arXiv 2302.13971) and models of the same architecture, such as
SmolLM2."""

from archon.engine.model.families.traits import BIASES, PRE_NORMS, FamilyTraits

LLAMA = FamilyTraits(
    name="llama",
    hf_class="Llama",
    norms=PRE_NORMS,
    biases=BIASES,
    gguf_interleaves_rope=True,
)
