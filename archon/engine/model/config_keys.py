"""Rules for the keys of ``config.json`` and of GGUF metadata (``archon.engine.files.key_rules``).

``archon.engine.model.config`` and ``archon.engine.encoders.config`` read the computed keys.
"""

from __future__ import annotations

import re

from archon.engine.files.key_rules import KeyRules

GENERATION_KEYS = frozenset({
    "max_length", "max_new_tokens", "min_length", "min_new_tokens", "early_stopping", "max_time",
    "stop_strings", "do_sample", "num_beams", "num_beam_groups", "diversity_penalty", "use_cache",
    "cache_implementation", "cache_config", "max_cache_len", "temperature", "top_k", "top_p",
    "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff", "repetition_penalty",
    "encoder_repetition_penalty", "length_penalty", "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size", "bad_words_ids", "force_words_ids", "constraints",
    "renormalize_logits", "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values",
    "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens",
    "sequence_bias", "token_healing", "guidance_scale", "watermarking_config",
    "num_return_sequences", "output_attentions", "output_hidden_states", "output_scores",
    "output_logits", "return_dict_in_generate", "pad_token_id", "bos_token_id", "eos_token_id",
    "decoder_start_token_id", "is_assistant", "num_assistant_tokens",
    "num_assistant_tokens_schedule", "assistant_confidence_threshold", "prompt_lookup_num_tokens",
    "max_matching_ngram_size", "assistant_early_exit", "assistant_lookbehind", "target_lookbehind",
    "assistant_ensemble_weight", "speculation_type", "use_mtp", "compile_config",
    "disable_compile", "continuous_batching_config", "low_memory", "penalty_alpha", "dola_layers",
    "prefill_chunk_size", "transformers_version", "_from_model_config",
})  # fmt: skip
"""Parameters of transformers' ``generate``, which older ``config.json`` files also contain. They
control sampling and are not part of the model."""

_IRRELEVANT = GENERATION_KEYS - {"eos_token_id"} | {
    # origin of the model, and the program that saved it
    "_name_or_path", "name_or_path", "_commit_hash", "torch_dtype", "dtype",
    "transformers.js_config", "tokenizer_class", "is_llama_config", "language", "license",
    # training
    "initializer_range", "attention_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop",
    "output_router_logits", "router_aux_loss_coef",
    "gradient_checkpointing", "use_gradient_checkpointing", "finetuning_task",
    "task_specific_params", "problem_type", "id2label", "label2id", "num_labels",
    # other implementations of the same computation
    "pretraining_tp", "tp_degree", "chunk_size_feed_forward", "torchscript", "use_bfloat16",
    "tf_legacy_loss", "use_flash_attn", "use_flash_attention", "use_flash_attention_2",
    "_flash_attn_2_enabled", "flash_attention", "attn_implementation", "_attn_implementation",
    "_attn_implementation_autoset", "_attn_implementation_internal",
    "experts_implementation", "_experts_implementation_internal",
    # return values of transformers' classes
    "return_dict", "use_return_dict", "output_past", "tie_last_hidden_states", "prefix",
    "is_decoder", "keys_to_ignore_at_inference",
    # truncation by tokenizers
    "max_sequence_length", "model_max_length",
}  # fmt: skip
"""Keys that are irrelevant in every family."""
_IRRELEVANT_NAMES = re.compile(
    r".*_token_ids?|(bos|eos|pad|unk|sep|cls|mask)_token|(\w+_)?version|.*dropout.*"
    r"|.*_loss(_.*)?|.*initializer.*|init_std"
    r"|(unsloth|wandb|mlflow|training|dataset|deepspeed|optimizer|scheduler)_.*"
)

_NEUTRAL = {
    "quantization_config": (), "compression_config": (), "pruned_heads": (),
    "per_layer_config": (), "add_cross_attention": (), "cross_attention_hidden_size": (),
    "tie_encoder_decoder": (), "use_bidirectional_attention": (),
}  # fmt: skip

CONFIG_RULES = KeyRules(
    computed=frozenset({
        "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings",
        "rms_norm_eps", "rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor",
        "original_max_position_embeddings", "tie_word_embeddings", "hidden_act",
        "hidden_activation", "layer_types", "use_sliding_window", "sliding_window",
        "max_window_layers", "attention_bias", "architectures", "auto_map", "eos_token_id",
    }),
    irrelevant=_IRRELEVANT,
    neutral=_NEUTRAL | {
        "attn_logit_softcapping": (), "final_logit_softcapping": (), "logits_soft_cap": (),
        "attention_multiplier": (), "embedding_multiplier": (1,), "residual_multiplier": (1,),
        "logits_scaling": (1,), "logit_scale": (1,), "rope_ratio": (1,), "scale_emb": (1,),
        "attention_scaling": (), "attention_scale": (), "query_pre_attn_scalar": (),
        "mlp_bias": (), "mlp_only_layers": (), "qkv_bias": (), "use_qk_norm": (), "qk_norm": (),
        "qk_layernorm": (), "clip_qkv": (), "alibi": (), "parallel_attn": (),
        "use_parallel_residual": (), "rope_interleaved": (), "rope_interleave": (),
        "num_experts": (), "num_local_experts": (), "n_routed_experts": (),
        "num_experts_per_tok": (), "moe_intermediate_size": (), "decoder_sparse_step": (1,),
        "shared_expert_intermediate_size": (), "norm_topk_prob": (), "attention_chunk_size": (),
        "is_encoder_decoder": (), "is_causal": (True,), "causal": (True,),
    },
    irrelevant_names=_IRRELEVANT_NAMES,
)  # fmt: skip
"""Rules for a decoder's ``config.json``, as transformers writes it."""

ENCODER_RULES = KeyRules(
    computed=frozenset({
        "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "max_position_embeddings", "type_vocab_size", "layer_norm_eps",
        "hidden_act", "position_embedding_type", "is_decoder",
    }),
    irrelevant=_IRRELEVANT | {
        "eos_token_id",
        "architectures",  # the tensors determine the head
        "tie_word_embeddings",  # concerns the language-model head, which is not used
        "sentence_transformers",  # activation of scores; here a score is always a probability
        "classifier_dropout", "hidden_dropout_prob", "attention_probs_dropout_prob",
    },
    neutral=_NEUTRAL | {"auto_map": (), "is_encoder_decoder": ()},
    irrelevant_names=_IRRELEVANT_NAMES,
)  # fmt: skip
"""Rules for an encoder's ``config.json``, as transformers writes it for BERT."""

ENCODER_DECODER_RULES = KeyRules(
    computed=frozenset({
        "model_type", "vocab_size", "num_layers", "num_decoder_layers", "d_model", "d_ff", "d_kv",
        "num_heads", "relative_attention_num_buckets", "relative_attention_max_distance",
        "layer_norm_epsilon", "feed_forward_proj", "tie_word_embeddings", "scale_decoder_outputs",
        "decoder_start_token_id", "eos_token_id",
    }),
    irrelevant=_IRRELEVANT | {
        "architectures", "is_encoder_decoder", "initializer_factor", "dropout_rate",
        "classifier_dropout",
        "dense_act_fn", "is_gated_act",  # both follow from feed_forward_proj
        "n_positions",  # positions are relative
    },
    neutral=_NEUTRAL | {"auto_map": ()},
    irrelevant_names=_IRRELEVANT_NAMES,
)  # fmt: skip
"""Rules for an encoder–decoder's ``config.json``, as transformers writes it for T5."""

GGUF_RULES = KeyRules(
    computed=frozenset({
        "block_count", "context_length", "embedding_length", "feed_forward_length",
        "attention.head_count", "attention.head_count_kv", "attention.key_length",
        "attention.value_length", "attention.layer_norm_rms_epsilon", "attention.scale",
        "attention.sliding_window", "rope.dimension_count", "rope.freq_base", "rope.scaling.type",
        "rope.scaling.factor", "rope.scale_linear", "embedding_length_out",
        "rope.scaling.original_context_length", "rope.scaling.attn_factor", "rope.freq_base_swa",
        "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow",
        "rope.scaling.yarn_attn_factor", "attention.sliding_window_pattern",
    }),
    irrelevant=frozenset({
        "vocab_size",  # given by the rows of the embedding
        "tensor_data_layout",  # layout of the file that was converted
        "attention.layer_norm_epsilon",  # for LayerNorm, which these families do not have
        "rope.scaling.finetuned",
    }),
    neutral={
        "attention.causal": (True,), "pooling_type": (0,), "use_parallel_residual": (),
        "attention.max_alibi_bias": (), "attention.clamp_kqv": (),
        "attn_logit_softcapping": (), "final_logit_softcapping": (),
        "logit_scale": (1,), "residual_scale": (1,), "embedding_scale": (1,),
        "attention.output_scale": (1,), "attention.temperature_length": (),
        "attention.temperature_scale": (), "attention.shared_kv_layers": (),
        "rope.dimension_sections": (), "rope.scaling.alpha": (),
        "rope.scaling.yarn_log_multiplier": (), "rope.scaling.yarn_ext_factor": (1,),
        "expert_count": (), "expert_used_count": (), "expert_shared_count": (),
        "expert_feed_forward_length": (), "expert_shared_feed_forward_length": (),
        "expert_weights_scale": (), "expert_weights_norm": (), "expert_gating_func": (),
        "leading_dense_block_count": (), "nextn_predict_layers": (), "n_deepstack_layers": (),
        "classifier.output_labels": (),
    },
)  # fmt: skip
"""Rules for the keys ``<architecture>.…`` of a GGUF file, as llama.cpp reads them."""

OTHER_GGUF_RULES = KeyRules(
    computed=frozenset({"general.architecture", "general.alignment"}),
    irrelevant=frozenset(),
    neutral={"general.type": ("model",)},
    irrelevant_names=re.compile(
        # Names, licences, authors: no loader of llama.cpp reads these keys.
        # ``archon.lm.local.tokenizer.gguf`` checks ``tokenizer.…``.
        r"(?!(adapter|clip|diffusion|xielu)\.).*"
    ),
)
"""Rules for all other keys of a GGUF file. They reject files that are not language models, such as
adapters and vision encoders."""
