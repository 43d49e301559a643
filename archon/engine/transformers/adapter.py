"""Adapters of models that the transformers library computes, merged into the weights by peft."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from archon.engine.model.lora_config import FILES
from archon.errors import ModelFileError, require

_MAX_REASON = 500


def merged_adapter(model: Any, path: Path) -> Any:
    """Return a model with an adapter's weights added to its own.

    Parameters
    ----------
    model
        A ``PreTrainedModel``, which is modified.
    path
        Folder of the adapter in peft's format.

    Raises
    ------
    MissingExtraError
        peft is not installed.
    ModelFileError
        The adapter is damaged, does not fit the model, or cannot be merged.
    """
    peft: Any = require("peft", "adapters")
    FILES.read_config(path)
    stored = {_bare(name) for name in FILES.read_tensors(path)}  # peft would also read a pickle
    try:
        with warnings.catch_warnings():  # what they say is checked below
            warnings.simplefilter("ignore")
            adapted = peft.PeftModel.from_pretrained(model, str(path))
        used = {_bare(name) for name in peft.get_peft_model_state_dict(adapted)}
        merged = adapted.merge_and_unload()
    except Exception as error:  # the library raises errors of many types
        reason = " ".join(str(error).split())[:_MAX_REASON] or type(error).__name__
        raise ModelFileError(f"{path}: peft cannot apply the adapter: {reason}") from error
    if different := stored ^ used:
        name = min(different)
        which = "has a tensor for" if name in stored else "lacks the tensor of"
        raise ModelFileError(
            f"{path}: the adapter is for another model: it {which} {name!r}, unlike the model"
        )
    return merged


def _bare(name: str) -> str:
    """Return a tensor's name without the prefixes that depend on the version of peft."""
    return name.removeprefix("base_model.model.")
