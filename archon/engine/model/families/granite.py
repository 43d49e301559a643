"""Granite 3 (Granite team 2024): Llama with factors of embeddings, attention scores, sublayers and
logits."""

from dataclasses import replace

from archon.engine.model.config_keys import GGUF_RULES
from archon.engine.model.families.traits import (
    ATTENTION_BIASES,
    FFN_BIASES,
    MULTIPLIERS,
    PRE_NORMS,
    FamilyTraits,
    FileKeys,
)

GRANITE = FamilyTraits(
    name="granite",
    hf_class="Granite",
    norms=PRE_NORMS,
    biases={**ATTENTION_BIASES, **FFN_BIASES},
    multipliers=MULTIPLIERS,
    logits_divisor=FileKeys("logit_scale", "logits_scaling"),
    gguf_interleaves_rope=True,
    defaults={"attention_multiplier": 1.0},
    base_gguf_rules=replace(
        GGUF_RULES,
        # llama.cpp reads this key as a switch of RoPE.
        neutral={**GGUF_RULES.neutral, "rope.scaling.finetuned": (True,)},
        irrelevant=GGUF_RULES.irrelevant - {"rope.scaling.finetuned"},
    ),
)
