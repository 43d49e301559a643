"""Traits that distinguish the families of decoders: features, tensor names and file keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from archon.engine.files.key_rules import KeyRules
from archon.engine.model.config_keys import CONFIG_RULES, GGUF_RULES
from archon.engine.model.families.layer_patterns import SlidingLayers


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
layers; a dense layer has all, a sparse one has its experts in place of the last three."""
FUSED_LAYERS: Mapping[str, TensorName] = {
    **LINEAR_LAYERS,
    **dict.fromkeys("qkv", TensorName("attn_qkv.weight", "self_attn.qkv_proj.weight")),
    **dict.fromkeys(("gate", "up"), TensorName("ffn_up.weight", "mlp.gate_up_proj.weight")),
}
"""Linear layers of which files store some as one tensor, the outputs in the order of the fields."""
EXPERTS: Mapping[str, TensorName] = {
    "router": TensorName("ffn_gate_inp.weight", "mlp.gate.weight"),
    "gate": TensorName("ffn_gate_exps.weight", "mlp.experts.{expert}.gate_proj.weight"),
    "up": TensorName("ffn_up_exps.weight", "mlp.experts.{expert}.up_proj.weight"),
    "down": TensorName("ffn_down_exps.weight", "mlp.experts.{expert}.down_proj.weight"),
}
"""Tensors of a sparse layer. Folders have a tensor for each expert."""
SHARED_EXPERT: Mapping[str, TensorName] = {
    "shared_router": TensorName("ffn_gate_inp_shexp.weight", "mlp.shared_expert_gate.weight"),
    "shared_gate": TensorName("ffn_gate_shexp.weight", "mlp.shared_expert.gate_proj.weight"),
    "shared_up": TensorName("ffn_up_shexp.weight", "mlp.shared_expert.up_proj.weight"),
    "shared_down": TensorName("ffn_down_shexp.weight", "mlp.shared_expert.down_proj.weight"),
}
"""Tensors of a sparse layer that has a network for all tokens as well."""
QKV_BIASES: Mapping[str, TensorName] = {
    "q_bias": TensorName("attn_q.bias", "self_attn.q_proj.bias"),
    "k_bias": TensorName("attn_k.bias", "self_attn.k_proj.bias"),
    "v_bias": TensorName("attn_v.bias", "self_attn.v_proj.bias"),
}
ATTENTION_BIASES: Mapping[str, TensorName] = {
    **QKV_BIASES,
    "output_bias": TensorName("attn_output.bias", "self_attn.o_proj.bias"),
}
FFN_BIASES: Mapping[str, TensorName] = {
    "gate_bias": TensorName("ffn_gate.bias", "mlp.gate_proj.bias"),
    "up_bias": TensorName("ffn_up.bias", "mlp.up_proj.bias"),
    "down_bias": TensorName("ffn_down.bias", "mlp.down_proj.bias"),
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
BOTH_NORMS: Mapping[str, TensorName] = {
    **PRE_NORMS,
    **POST_NORMS,
    "ffn_norm_E": TensorName("ffn_norm.weight", "pre_feedforward_layernorm.weight"),
}
"""Norms of the inputs and of the outputs."""
QK_NORMS: Mapping[str, TensorName] = {
    "q_norm": TensorName("attn_q_norm.weight", "self_attn.q_norm.weight"),
    "k_norm": TensorName("attn_k_norm.weight", "self_attn.k_norm.weight"),
}

Activation = Literal["silu", "gelu_tanh"]
ACTIVATION_NAMES: Mapping[Activation, tuple[str, ...]] = {
    "silu": ("silu", "swish"),
    "gelu_tanh": ("gelu_pytorch_tanh",),
}
"""Activations of the gate → their names in ``config.json``."""


class FileKeys(NamedTuple):
    """The keys of one number in GGUF files and in ``config.json``."""

    gguf: str
    hf: str


MULTIPLIERS: Mapping[str, FileKeys] = {
    "attention_scale": FileKeys("attention.scale", "attention_multiplier"),
    "embedding_scale": FileKeys("embedding_scale", "embedding_multiplier"),
    "residual_scale": FileKeys("residual_scale", "residual_multiplier"),
}
SOFTCAPS: Mapping[str, FileKeys] = {
    "attention_softcap": FileKeys("attn_logit_softcapping", "attn_logit_softcapping"),
    "logit_softcap": FileKeys("final_logit_softcapping", "final_logit_softcapping"),
}
"""Fields of ``DecoderConfig`` → keys of files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyTraits:
    """Traits of one family, read by the decoders, the kernels and the trainer.

    Every family is a transformer with RMSNorm, grouped-query attention, rotary embedding
    (``archon.engine.model.rope``) and gated feed-forward networks. It has the tensors in
    ``LINEAR_LAYERS`` and those in the fields below.
    """

    name: str
    """``model_type`` of ``config.json``."""
    hf_class: str
    """Prefix of its class names in transformers."""
    gguf_name: str | None = None
    """``general.architecture`` of GGUF files, by default the name; "" if these files have the name
    of another family, whose traits include this family's."""
    norms: Mapping[str, TensorName]
    """``PRE_NORMS``, ``POST_NORMS`` or ``BOTH_NORMS``."""
    norm_offset: float = 0.0
    """Number that folders subtract from the weights of norms."""
    qk_norm: Literal["none", "head", "projection"] = "none"
    """Normalisation of queries and keys before RoPE: none, of each head (all heads share one
    weight), or of the projection, over all heads together."""
    linears: Mapping[str, TensorName] = field(default_factory=lambda: LINEAR_LAYERS)
    """``LINEAR_LAYERS`` or ``FUSED_LAYERS``."""
    experts: Mapping[str, TensorName] = field(default_factory=dict)
    """``EXPERTS``, and ``SHARED_EXPERT`` if the family has one; empty for a dense family."""
    gguf_normalises_experts: bool = False
    """True if the probabilities of used experts sum to 1 in the models that GGUF files store."""
    biases: Mapping[str, TensorName]
    """Biases that linear layers may have; empty for none."""
    always_biased: bool = False
    """True if all ``biases`` always exist. Otherwise ``attention_bias`` and ``mlp_bias`` of a
    folder, or the tensors of a GGUF file, decide."""
    activation: Activation = "silu"
    """Activation of the gate of the feed-forward network."""
    scales_embedding: bool = False
    """True if token embeddings are multiplied by √E."""
    multipliers: Mapping[str, FileKeys] = field(default_factory=dict)
    """``MULTIPLIERS`` if files have these, else empty."""
    logits_divisor: FileKeys | None = None
    """Keys of the number that logits are divided by."""
    softcaps: Mapping[str, FileKeys] = field(default_factory=dict)
    """``SOFTCAPS`` if files have these, else empty."""
    query_scalar_key: str = ""
    """Key of ``config.json`` for s, where attention scores are divided by √s."""
    gguf_wide_scale_layers: int = 0
    """Number of layers of the models whose scores are divided by √(E / H) in GGUF files."""
    sliding_layers: SlidingLayers | None = None
    """Which layers have the window that a folder names as ``sliding_window``, unless
    ``layer_types`` lists them; None if the family has no windows."""
    window_is_opt_in: bool = False
    """True if ``sliding_window`` applies only if ``use_sliding_window`` is true."""
    gguf_window_period: int | None = None
    """In GGUF files with a window, every layer but each n-th has it; 0 for every layer, None if a
    window is not supported."""
    local_rope_base: float | None = None
    """Base of the rotary frequencies in layers with a window; None if all layers have the same."""
    partial_rope: bool = False
    """True if RoPE may rotate only the first channels of a head."""
    rope_types: Mapping[str, str] = field(default_factory=dict)
    """Other names of rotary scalings in this family's files."""
    nope_interval: int = 0
    """Each n-th layer has no RoPE, unless ``no_rope_layers`` names these layers; 0 for none."""
    gguf_interleaves_rope: bool = False
    """Whether GGUF files store the two halves of each q and k head interleaved."""
    requires_head_dim: bool = False
    """True if ``config.json`` must have ``head_dim``. Otherwise it defaults to E / H."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Keys of ``config.json`` that files may leave out, and their values."""
    gguf_defaults: Mapping[str, Any] = field(default_factory=dict)
    """Keys of GGUF files, without the family's prefix, that files may leave out."""
    base_rules: KeyRules = CONFIG_RULES
    """Rules for the keys of ``config.json``, before those of the traits."""
    base_gguf_rules: KeyRules = GGUF_RULES
    """Rules for the keys of GGUF files that begin with the family's name there."""

    @property
    def architecture(self) -> str:
        """``general.architecture`` of this family's GGUF files.

        "" if they use another family's name, as Mistral's use Llama's.
        """
        return self.name if self.gguf_name is None else self.gguf_name

    @property
    def config_rules(self) -> KeyRules:
        """Rules for the keys of ``config.json``."""
        keys = {file_keys.hf for file_keys in self._numbers} | {self.query_scalar_key}
        keys |= _EXPERT_KEYS if self.experts else set()
        keys |= {"mlp_bias"} if self.biases.keys() & FFN_BIASES.keys() else set()
        keys |= {"no_rope_layers", "no_rope_layer_interval"} if self.nope_interval else set()
        keys |= {"rope_local_base_freq"} if self.local_rope_base else set()
        return self.base_rules.computing(keys)

    @property
    def gguf_rules(self) -> KeyRules:
        """Rules for the keys of GGUF files that begin with the family's name there."""
        keys = {file_keys.gguf for file_keys in self._numbers}
        keys |= _GGUF_EXPERT_KEYS if self.experts else set()
        return self.base_gguf_rules.computing(keys)

    @property
    def _numbers(self) -> Iterable[FileKeys]:
        divisor = () if self.logits_divisor is None else (self.logits_divisor,)
        return (*self.multipliers.values(), *self.softcaps.values(), *divisor)

    @property
    def normalises_outputs(self) -> bool:
        """True if the outputs of sublayers are normalised."""
        return "attention_post_norm_E" in self.norms

    @property
    def is_plain(self) -> bool:
        """True if the family has no features that its sizes do not define."""
        features = (
            self.multipliers, self.softcaps, self.scales_embedding, self.query_scalar_key,
            self.nope_interval, self.experts, self.partial_rope, self.local_rope_base,
        )  # fmt: skip
        return not any(features)

    @property
    def layer_tensors(self) -> Mapping[str, TensorName]:
        """Fields of ``LayerWeights`` that a dense layer may have → tensors."""
        return {**self.norms, **self.linears, **self.biases, **self._qk_norms}

    @property
    def sparse_layer_tensors(self) -> Mapping[str, TensorName]:
        """Fields of ``LayerWeights`` that a sparse layer may have → tensors."""
        return {**self.layer_tensors, **self.experts}

    @property
    def _qk_norms(self) -> Mapping[str, TensorName]:
        return QK_NORMS if self.qk_norm != "none" else {}


_EXPERT_KEYS = {
    "num_experts", "num_local_experts", "num_experts_per_tok", "moe_intermediate_size",
    "shared_expert_intermediate_size", "norm_topk_prob", "decoder_sparse_step", "mlp_only_layers",
}  # fmt: skip
_GGUF_EXPERT_KEYS = {
    "expert_count", "expert_used_count", "expert_feed_forward_length",
    "expert_shared_feed_forward_length",
}  # fmt: skip


def layer_prefix(index: int) -> str:
    """Return the prefix of a layer's tensor names in Hugging Face's folders."""
    return f"model.layers.{index}."
