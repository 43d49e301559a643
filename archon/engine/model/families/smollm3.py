"""SmolLM3 (Bakouch et al. 2025): Llama without rotary embedding in each fourth layer."""

from archon.engine.model.families.layer_patterns import layers_without_rope
from archon.engine.model.families.traits import (
    ATTENTION_BIASES,
    FFN_BIASES,
    PRE_NORMS,
    FamilyTraits,
)

_INTERVAL = 4

SMOLLM3 = FamilyTraits(
    name="smollm3",
    hf_class="SmolLM3",
    norms=PRE_NORMS,
    biases={**ATTENTION_BIASES, **FFN_BIASES},
    nope_interval=_INTERVAL,
    sliding_layers=layers_without_rope(_INTERVAL),
    window_is_opt_in=True,
    gguf_interleaves_rope=True,
    defaults={"rope_theta": 2_000_000.0, "tie_word_embeddings": True},
)
