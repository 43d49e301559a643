"""What distinguishes one family of decoders from another: features, names and file keys."""

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
"""Fields of ``LayerWeights`` → tensors of a layer, without the layer's prefix. Every family has
these linear layers."""
BIASES: Mapping[str, TensorName] = {
    "q_bias": TensorName("attn_q.bias", "self_attn.q_proj.bias"),
    "k_bias": TensorName("attn_k.bias", "self_attn.k_proj.bias"),
    "v_bias": TensorName("attn_v.bias", "self_attn.v_proj.bias"),
}
PRE_NORMS: Mapping[str, TensorName] = {
    "attention_norm_E": TensorName("attn_norm.weight", "input_layernorm.weight"),
    "ffn_norm_E": TensorName("ffn_norm.weight", "post_attention_layernorm.weight"),
}
"""Norms of what a sublayer reads."""
POST_NORMS: Mapping[str, TensorName] = {
    "attention_post_norm_E": TensorName(
        "post_attention_norm.weight", "post_attention_layernorm.weight"
    ),
    "ffn_post_norm_E": TensorName("post_ffw_norm.weight", "post_feedforward_layernorm.weight"),
}
"""Norms of what a sublayer adds to the residual stream."""
QK_NORMS: Mapping[str, TensorName] = {
    "q_norm": TensorName("attn_q_norm.weight", "self_attn.q_norm.weight"),
    "k_norm": TensorName("attn_k_norm.weight", "self_attn.k_norm.weight"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyTraits:
    """One family. The decoders, the kernels and the trainer read these traits.

    A family is a SwiGLU transformer with RMSNorm and grouped-query attention, and its rotary
    embedding turns halves of a head (``archon.engine.model.rope``). It has the linear layers of
    ``LINEAR_LAYERS`` and the tensors named here.
    """

    name: str
    """``general.architecture`` of GGUF files and ``model_type`` of ``config.json``."""
    hf_class: str
    """What the names of its classes in transformers begin with."""
    norms: Mapping[str, TensorName]
    """``PRE_NORMS`` or ``POST_NORMS``: where layers normalise."""
    qk_norm: Literal["none", "head", "projection"] = "none"
    """Whether queries and keys are normalised before RoPE: each head by itself with one weight for
    all heads, or the whole projection."""
    biases: Mapping[str, TensorName]
    """``BIASES`` if q, k and v may have biases."""
    always_biased: bool = False
    """Whether q, k and v always have biases. Otherwise a folder's ``attention_bias``, or the
    tensors of a GGUF file, decide."""
    gguf_interleaves_rope: bool = False
    """Whether GGUF files store the two halves of each head of q and k interleaved."""
    states_head_width: bool = False
    """Whether ``config.json`` must state ``head_dim``. Otherwise it defaults to E / H."""
    window_is_opt_in: bool = False
    """Whether ``sliding_window`` applies only if ``use_sliding_window`` is true."""
    gguf_tokenizer: str = ""
    """Splitting rule (``tokenizer.ggml.pre``) of GGUF files that do not name one; "" if unknown."""
    config_rules: KeyRules = CONFIG_RULES
    """Keys of ``config.json`` that are computed, irrelevant or refused."""
    gguf_rules: KeyRules = GGUF_RULES
    """The same for the keys ``<name>.…`` of GGUF files."""

    @property
    def pre_norm(self) -> bool:
        """Whether sublayers read the normalised stream, rather than add normalised outputs."""
        return self.norms is PRE_NORMS

    @property
    def layer_tensors(self) -> Mapping[str, TensorName]:
        """Fields of ``LayerWeights`` that a layer may have → their tensors."""
        qk_norms = QK_NORMS if self.qk_norm != "none" else {}
        return {**self.norms, **LINEAR_LAYERS, **self.biases, **qk_norms}


def layer_prefix(index: int) -> str:
    """What the names of a layer's tensors begin with in Hugging Face's folders."""
    return f"model.layers.{index}."
