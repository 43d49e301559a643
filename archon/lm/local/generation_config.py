"""Check ``generation_config.json``, which contains the recommended sampling parameters of a model.

Archon does not read the recommended sampling parameters; put them into a card's ``sampling``. A
warning is logged if a key changes the distribution in a way that Archon does not support, such as
n-grams that must not repeat. Results may then differ from those of transformers' ``generate``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archon.engine.files.key_rules import shown
from archon.engine.model.config_keys import GENERATION_KEYS

logger = logging.getLogger("archon.lm")

NOT_APPLIED: Mapping[str, object] = {
    "encoder_repetition_penalty": 1, "no_repeat_ngram_size": 0,
    "encoder_no_repeat_ngram_size": 0, "suppress_tokens": None, "begin_suppress_tokens": None,
    "bad_words_ids": None, "sequence_bias": None, "forced_bos_token_id": None,
    "forced_eos_token_id": None, "force_words_ids": None, "constraints": None,
    "exponential_decay_length_penalty": None, "min_length": 0, "min_new_tokens": 0,
    "epsilon_cutoff": 0, "eta_cutoff": 0, "top_h": None, "guidance_scale": 1,
    "num_beams": 1, "num_beam_groups": 1, "diversity_penalty": 0, "penalty_alpha": 0,
    "dola_layers": None, "watermarking_config": None, "token_healing": False,
    "stop_strings": None,
}  # fmt: skip
"""Key that Archon does not apply → the value with which the key has no effect."""
NOT_READ = GENERATION_KEYS - NOT_APPLIED.keys() - {"eos_token_id"}
"""Known keys that cause no warning. A card can set them, or they do not change the distribution."""

_reported: set[Path] = set()


def _is_ignored(key: str, value: Any) -> bool:
    """Return True if a key is unknown, or has an effect that Archon does not apply."""
    if key in NOT_APPLIED:
        return bool(value != NOT_APPLIED[key])
    return key not in NOT_READ and key != "eos_token_id" and not key.startswith("_")


def report_not_applied(file: Path, generation: Mapping[str, Any]) -> None:
    """Log a warning, once per file, if the file contains keys that Archon does not apply."""
    ignored = [
        f"{key} {shown(value)}"
        for key, value in generation.items()
        if value and _is_ignored(key, value)
    ]
    if ignored and file not in _reported:
        _reported.add(file)
        logger.warning("%s: Archon does not apply %s", file, ", ".join(ignored))
