"""Gemma 3, text models (Gemma team 2025, arXiv 2503.19786): Gemma 2 with normalised queries and
keys instead of bounded scores, and other rotary frequencies in the layers with a window."""

from archon.engine.model.config_keys import CONFIG_RULES
from archon.engine.model.families.layer_patterns import all_but_each
from archon.engine.model.families.traits import (
    ATTENTION_BIASES,
    BOTH_NORMS,
    SOFTCAPS,
    FamilyTraits,
)

GEMMA3 = FamilyTraits(
    name="gemma3_text",
    hf_class="Gemma3",
    gguf_name="gemma3",
    norms=BOTH_NORMS,
    norm_offset=1.0,
    qk_norm="head",
    biases=ATTENTION_BIASES,
    activation="gelu_tanh",
    scales_embedding=True,
    softcaps={"logit_softcap": SOFTCAPS["logit_softcap"]},
    query_scalar_key="query_pre_attn_scalar",
    gguf_wide_scale_layers=62,  # of Gemma 3 27B
    sliding_layers=all_but_each(6, "sliding_window_pattern"),
    gguf_window_period=6,
    local_rope_base=10_000.0,
    defaults={
        "head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window": 4096,
        "rope_theta": 1_000_000.0, "tie_word_embeddings": True,
    },
    gguf_defaults={"rope.freq_base": 1_000_000.0},
    base_rules=CONFIG_RULES.computing({"sliding_window_pattern", "_sliding_window_pattern"}),
)  # fmt: skip
