"""Gemma 2 (Gemma team 2024, arXiv 2408.00118): norms before and after each sublayer, a tanh-GELU
gate, bounded attention scores and logits, and a sliding window in each other layer."""

from archon.engine.model.families.layer_patterns import all_but_each
from archon.engine.model.families.traits import (
    ATTENTION_BIASES,
    BOTH_NORMS,
    SOFTCAPS,
    FamilyTraits,
)

GEMMA2 = FamilyTraits(
    name="gemma2",
    hf_class="Gemma2",
    norms=BOTH_NORMS,
    norm_offset=1.0,
    biases=ATTENTION_BIASES,
    activation="gelu_tanh",
    scales_embedding=True,
    softcaps=SOFTCAPS,
    query_scalar_key="query_pre_attn_scalar",
    gguf_wide_scale_layers=46,  # of Gemma 2 27B
    sliding_layers=all_but_each(2),
    gguf_window_period=2,
    defaults={
        "head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window": 4096,
        "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
        "tie_word_embeddings": True,
    },
    gguf_defaults={
        "attention.sliding_window": 4096, "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
    },
)  # fmt: skip
