"""Which keys of ``adapter_config.json`` are computed, cannot matter, or are refused.

The keys are those of peft's ``LoraConfig`` and its parents. ``archon.engine.model.lora_file`` reads
and checks the keys that are listed here as computed.
"""

from __future__ import annotations

import re

from archon.engine.files.key_rules import KeyRules

PRESERVING_INITS = ("gaussian", "eva", "orthogonal", "mica")
"""Named initialisations that leave the model's weights as they are.

The others (pissa, olora, loftq, corda, lora_ga) subtract the fresh adapter from the weights, and
such an adapter fits the changed weights alone. Where peft has converted it
(``path_initial_model_for_weight_conversion``), its file says true.
"""

ADAPTER_RULES = KeyRules(
    computed=frozenset({
        "peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern",
        "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern",
        "init_lora_weights", "ensure_weight_tying",
    }),
    irrelevant=frozenset({
        "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision",
        "inference_mode", "lora_dropout", "runtime_config", "merge_weights",
        "qalora_group_size",  # without use_qalora
        "megatron_core",  # without megatron_config
        # Read by the initialisations of these names alone; ``init_lora_weights`` decides.
        "eva_config", "corda_config", "lora_ga_config",
    }),
    null_only=frozenset({
        "monteclora_config", "arrow_config", "velora_config", "kasa_config", "megatron_config",
    }),
    neutral={
        "bias": ("none",), "fan_in_fan_out": (), "modules_to_save": (), "use_dora": (),
        "trainable_token_indices": (), "loftq_config": (), "alora_invocation_tokens": (),
        "alora_invocation_string": (), "use_qalora": (), "layer_replication": (),
        "lora_bias": (), "target_parameters": (), "use_bdlora": (), "enable_lora": (),
    },
    irrelevant_names=re.compile(r"(\w+_)?version|unsloth_\w+|wandb_\w+|.*dropout.*"),
)  # fmt: skip
