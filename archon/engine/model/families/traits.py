"""Traits that distinguish the families of decoders: features, tensor names and file keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from archon.engine.files.key_rules import KeyRules
from archon.engine.model.config_keys import CONFIG_RULES, GGUF_RULES


class TensorName(NamedTuple):
    """The name of one tensor in GGUF files and in Hugging Face's folders."""

    gguf: str
    hf: str


EMBEDDING = TensorName("token_embd.weight", "model.embed_tokens.weight")
OUTPUT_NORM = TensorName("output_norm.weight", "model.norm.weight")
HEAD = TensorName("output.weight", "lm_head.weight")

LINEAR_LAYERS: Mapping[str, TensorName] = {
    "q": TensorName("attn_q.weight", "self_attn.q_proj.weight"),
    "k": TensorName("attn_k.weight", "self_attn.k_proj.weight"),
    "v": TensorName("attn_v.weight", "self_attn.v_proj.weight"),
    "attention_output": TensorName("attn_output.weight", "self_attn.o_proj.weight"),
    "gate": TensorName("ffn_gate.weight", "mlp.gate_proj.weight"),
    "up": TensorName("ffn_up.weight", "mlp.up_proj.weight"),
    "down": TensorName("ffn_down.weight", "mlp.down_proj.weight"),
}
"""Fields of ``LayerWeights`` → tensors, without the layer's prefix. Every family has these linear
layers."""
BIASES: Mapping[str, TensorName] = {
    "q_bias": TensorName("attn_q.bias", "self_attn.q_proj.bias"),
    "k_bias": TensorName("attn_k.bias", "self_attn.k_proj.bias"),
    "v_bias": TensorName("attn_v.bias", "self_attn.v_proj.bias"),
}
PRE_NORMS: Mapping[str, TensorName] = {
    "attention_norm_E": TensorName("attn_norm.weight", "input_layernorm.weight"),
    "ffn_norm_E": TensorName("ffn_norm.weight", "post_attention_layernorm.weight"),
}
"""Norms of the inputs of the sublayers."""
POST_NORMS: Mapping[str, TensorName] = {
    "attention_post_norm_E": TensorName(
        "post_attention_norm.weight", "post_attention_layernorm.weight"
    ),
    "ffn_post_norm_E": TensorName("post_ffw_norm.weight", "post_feedforward_layernorm.weight"),
}
"""Norms of the outputs of the sublayers."""
QK_NORMS: Mapping[str, TensorName] = {
    "q_norm": TensorName("attn_q_norm.weight", "self_attn.q_norm.weight"),
    "k_norm": TensorName("attn_k_norm.weight", "self_attn.k_norm.weight"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyTraits:
    """Traits of one family, read by the decoders, the kernels and the trainer.

    Every family is a SwiGLU transformer with RMSNorm, grouped-query attention and rotary embedding
    (``archon.engine.model.rope``). It has the tensors in ``LINEAR_LAYERS`` and those in the fields
    below.
    """

    name: str
    """``general.architecture`` of GGUF files and ``model_type`` of ``config.json``."""
    hf_class: str
    """Prefix of its class names in transformers."""
    norms: Mapping[str, TensorName]
    """``PRE_NORMS`` or ``POST_NORMS``."""
    qk_norm: Literal["none", "head", "projection"] = "none"
    """Normalisation of queries and keys before RoPE: none, of each head (all heads share one
    weight), or of the projection, over all heads together."""
    biases: Mapping[str, TensorName]
    """``BIASES`` if q, k and v can have biases, else empty."""
    always_biased: bool = False
    """Whether q, k and v always have biases. If not, they have biases if ``attention_bias`` is true
    in a folder's ``config.json``, or if a GGUF file has the tensors.
    """
    gguf_interleaves_rope: bool = False
    """Whether GGUF files store the two halves of each q and k head interleaved."""
    requires_head_dim: bool = False
    """Whether ``config.json`` must contain ``head_dim``. Otherwise, it defaults to E / H."""
    window_is_opt_in: bool = False
    """Whether ``sliding_window`` applies only if ``use_sliding_window`` is true."""
    gguf_tokenizer: str = ""
    """Default of ``tokenizer.ggml.pre`` in GGUF files; "" for none."""
    config_rules: KeyRules = CONFIG_RULES
    """Rules for the keys of ``config.json``."""
    gguf_rules: KeyRules = GGUF_RULES
    """Rules for the keys ``<name>.…`` of GGUF files."""

    @property
    def pre_norm(self) -> bool:
        """True if the inputs of sublayers are normalised, False if their outputs are."""
        return self.norms is PRE_NORMS

    @property
    def layer_tensors(self) -> Mapping[str, TensorName]:
        """Fields of ``LayerWeights`` that a layer may have → tensors."""
        qk_norms = QK_NORMS if self.qk_norm != "none" else {}
        return {**self.norms, **LINEAR_LAYERS, **self.biases, **qk_norms}


def layer_prefix(index: int) -> str:
    """Return the prefix of a layer's tensor names in Hugging Face's folders."""
    return f"model.layers.{index}."
