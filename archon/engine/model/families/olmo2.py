"""OLMo 2 (OLMo team 2024, arXiv 2501.00656): norms follow attention and the feed-forward network,
and each projection of queries or keys has one norm over all heads."""

from dataclasses import replace

from archon.engine.model.config_keys import CONFIG_RULES
from archon.engine.model.families.traits import POST_NORMS, FamilyTraits

OLMO2 = FamilyTraits(
    name="olmo2",
    hf_class="Olmo2",
    norms=POST_NORMS,
    qk_norm="projection",
    biases={},
    base_rules=replace(
        CONFIG_RULES,
        computed=CONFIG_RULES.computed - {"attention_bias"},
        neutral={**CONFIG_RULES.neutral, "attention_bias": ()},
    ),
)
