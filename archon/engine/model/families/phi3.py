"""Phi-3, Phi-3.5 and Phi-4-mini (Abdin et al. 2024, arXiv 2404.14219): fused projections, and
LongRoPE in the models of long context."""

from dataclasses import replace

from archon.engine.model.config_keys import CONFIG_RULES
from archon.engine.model.families.layer_patterns import every_layer
from archon.engine.model.families.traits import FUSED_LAYERS, PRE_NORMS, FamilyTraits

_RULES = replace(
    CONFIG_RULES,
    neutral={
        **CONFIG_RULES.neutral,
        "attention_bias": (), "lm_head_bias": (), "full_attn_mod": (1,), "interpolate_factor": (1,),
    },
    computed=CONFIG_RULES.computed - {"attention_bias"},
)  # fmt: skip

PHI3 = FamilyTraits(
    name="phi3",
    hf_class="Phi3",
    norms=PRE_NORMS,
    linears=FUSED_LAYERS,
    biases={},
    partial_rope=True,
    rope_types={"su": "longrope", "yarn": "longrope"},
    sliding_layers=every_layer,
    gguf_window_period=0,
    defaults={"original_max_position_embeddings": 4096},
    base_rules=_RULES,
)
