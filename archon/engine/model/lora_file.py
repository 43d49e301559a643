"""Low-rank adapters (LoRA: Hu et al. 2021, arXiv 2106.09685): what fine-tuning adds to a decoder.

A linear layer's weight W becomes W + scale · B·A, where A is (rank, inputs) and B (outputs, rank):
far fewer numbers than W has. They lie in a folder as the library peft writes it::

    adapter_config.json          rank, alpha, which layers
    adapter_model.safetensors    base_model.model.<layer>.lora_A.weight, … .lora_B.weight
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from archon.engine.files.key_rules import shown
from archon.engine.files.part import PartFiles
from archon.engine.model.adapter_keys import ADAPTER_RULES, PRESERVING_INITS
from archon.engine.model.adapter_targets import first_match, leaves_out
from archon.errors import ModelFileError

CONFIG_NAME, TENSORS_NAME = "adapter_config.json", "adapter_model.safetensors"
FILES = PartFiles("adapter", CONFIG_NAME, TENSORS_NAME)
_PREFIX = "base_model.model."
_KEY = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter's numbers: A, (rank, I), and B, (O, rank), of each linear layer that it changes.

    Layers are named as in a model's folder, such as ``model.layers.0.self_attn.q_proj``.
    """

    rank: int
    alpha: float
    pairs: Mapping[str, tuple[Tensor, Tensor]]
    scale: float
    """alpha / rank, or alpha / √rank where the file says ``use_rslora``."""
    path: Path | None = None
    """Where it was read, for messages."""
    digest: str = ""
    """SHA-256 of its two files: draws depend on it."""


def read_adapter(path: Path) -> Adapter:
    """Read an adapter's folder.

    Where ``rank_pattern`` or ``alpha_pattern`` give a layer another scale than the adapter's, B of
    that layer is multiplied by the quotient.

    Raises
    ------
    ModelFileError : a file is missing or damaged, or says something that is not supported.
    """
    config = _read_config(path)
    rank, alpha = _positive(config, "r", path), _positive(config, "lora_alpha", path)
    scale = _scale(config, rank, alpha)
    pairs = {}
    for name, (a_RI, b_OR) in _read_pairs(path).items():
        if leaves_out(config, name, path / CONFIG_NAME):
            raise ModelFileError(
                f"{path / TENSORS_NAME}: changes {name!r}, which target_modules, exclude_modules "
                f"or layers_to_transform in {CONFIG_NAME} leave out"
            )
        own_rank = _by_pattern(config, "rank_pattern", name, rank, path)
        own_alpha = _by_pattern(config, "alpha_pattern", name, alpha, path)
        if a_RI.dim() != 2 or b_OR.dim() != 2 or not len(a_RI) == b_OR.shape[1] == own_rank:
            raise ModelFileError(f"{path / TENSORS_NAME}: {name} is not of rank {own_rank:g}")
        own_scale = _scale(config, own_rank, own_alpha)
        pairs[name] = (a_RI, b_OR if own_scale == scale else b_OR * (own_scale / scale))
    if config.get("ensure_weight_tying") and "lm_head" in pairs:
        raise ModelFileError(
            f"{path / CONFIG_NAME}: ensure_weight_tying is true and lm_head is adapted: the "
            "embedding would be adapted as well, which is not supported"
        )
    return Adapter(int(rank), alpha, pairs, scale, path, FILES.digest(path))


def _read_pairs(path: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """A and B of each layer."""
    halves: dict[str, dict[str, Tensor]] = {}
    for key, tensor in FILES.read_tensors(path).items():
        found = _KEY.fullmatch(key)
        if found is None:
            raise ModelFileError(
                f"{path / TENSORS_NAME}: tensor {key!r} is not supported: it is no lora_A or "
                "lora_B of a linear layer"
            )
        halves.setdefault(found[1], {})[found[2]] = tensor.float()
    if not halves:
        raise ModelFileError(f"{path / TENSORS_NAME}: holds no tensors, so it changes nothing")
    for name, half in halves.items():
        if half.keys() != {"A", "B"}:
            raise ModelFileError(f"{path / TENSORS_NAME}: {name} lacks lora_A or lora_B")
    return {name: (half["A"], half["B"]) for name, half in halves.items()}


def _scale(config: Mapping[str, Any], rank: float, alpha: float) -> float:
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _by_pattern(config: Mapping[str, Any], key: str, name: str, usual: float, path: Path) -> float:
    """A layer's rank or alpha: that of the first pattern which its name ends in."""
    patterns = config.get(key) or {}
    pattern = first_match(patterns, name, path / CONFIG_NAME)
    return usual if pattern is None else _positive(patterns, pattern, path, f"{key}.")


def _positive(values: Mapping[str, Any], key: str, path: Path, prefix: str = "") -> float:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        reason = f"{prefix}{key} is {shown(value)}, no number above zero"
        raise ModelFileError(f"{path / CONFIG_NAME}: {reason}")
    return value


def write_adapter(
    adapter: Adapter,
    path: Path,
    *,
    base: str,
    dropout: float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write an adapter's folder, which peft reads, too.

    Parameters
    ----------
    base : the name of the model that it was trained on.
    dtype : what its numbers are rounded to.
    """
    tensors = {}
    for name, (a_RI, b_OR) in adapter.pairs.items():
        tensors[f"{_PREFIX}{name}.lora_A.weight"] = a_RI.to(dtype).contiguous()
        tensors[f"{_PREFIX}{name}.lora_B.weight"] = b_OR.to(dtype).contiguous()
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "lora_dropout": dropout,
        "target_modules": sorted({name.rpartition(".")[2] for name in adapter.pairs}),
        "layers_to_transform": _layers_of(adapter.pairs),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    FILES.write(path, config, tensors)


def _layers_of(names: Iterable[str]) -> list[int] | None:
    """The layers that are changed, or None where something outside of them is, too."""
    found = [re.search(r"\.layers\.(\d+)\.", name) for name in names]
    return None if None in found else sorted({int(f[1]) for f in found if f})


def _read_config(path: Path) -> dict[str, Any]:
    config, file = FILES.read_config(path), path / CONFIG_NAME
    if config.get("peft_type") != "LORA":
        raise ModelFileError(
            f"{file}: peft_type is {shown(config.get('peft_type'))}, which is not supported; "
            "LORA is"
        )
    ADAPTER_RULES.check(config, file)
    if not config.get("target_modules"):
        raise ModelFileError(
            f"{file}: target_modules is missing or empty, so the file does not say which layers "
            "it is for"
        )
    init = config.get("init_lora_weights")
    is_named = isinstance(init, str) and init.lower() in PRESERVING_INITS
    if not is_named and not isinstance(init, bool | None):
        raise ModelFileError(
            f"{file}: init_lora_weights is {shown(init)}: the adapter needs weights that its "
            "initialisation has changed, and the model's own are not these. Convert it with peft: "
            "save_pretrained(…, path_initial_model_for_weight_conversion=…)"
        )
    for key in ("use_rslora", "ensure_weight_tying"):
        if not isinstance(config.get(key), bool | None):
            raise ModelFileError(f"{file}: {key} is {shown(config[key])}, not true or false")
    for key in ("rank_pattern", "alpha_pattern"):
        if not isinstance(config.get(key), dict | None):
            raise ModelFileError(f"{file}: {key} is {shown(config[key])}, no object")
    return config
