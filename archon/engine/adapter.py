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

from archon.engine.files.part import PartFiles
from archon.errors import ModelFileError

CONFIG_NAME, TENSORS_NAME = "adapter_config.json", "adapter_model.safetensors"
FILES = PartFiles("adapter", CONFIG_NAME, TENSORS_NAME)
_PREFIX = "base_model.model."
_KEY = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")
_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "use_dora": (False, None),
    "fan_in_fan_out": (False, None),
    "modules_to_save": ([], None),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "use_rslora": (False, True, None),
}
"""Keys of the configuration → what they may say: anything else is another sum than ours."""


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

    Raises
    ------
    ModelFileError : a file is missing or damaged, or says something that is not supported.
    """
    config = _read_config(path)
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float):
        raise ModelFileError(f"{path / CONFIG_NAME}: r and lora_alpha are no numbers above zero")
    halves: dict[str, dict[str, Tensor]] = {}
    for key, tensor in FILES.read_tensors(path).items():
        found = _KEY.fullmatch(key)
        if found is None:
            raise ModelFileError(f"{path / TENSORS_NAME}: tensor {key!r} is not supported")
        halves.setdefault(found[1], {})[found[2]] = tensor.float()
    pairs = {}
    for name, half in halves.items():
        if half.keys() != {"A", "B"}:
            raise ModelFileError(f"{path / TENSORS_NAME}: {name} lacks lora_A or lora_B")
        a_RI, b_OR = half["A"], half["B"]
        if a_RI.dim() != 2 or b_OR.dim() != 2 or not len(a_RI) == b_OR.shape[1] == rank:
            raise ModelFileError(f"{path / TENSORS_NAME}: {name} is not of rank {rank}")
        pairs[name] = (a_RI, b_OR)
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return Adapter(rank, alpha, pairs, scale, path, FILES.digest(path))


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
    config = FILES.read_config(path)
    for key, allowed in _PLAIN.items():
        if config.get(key) not in allowed:
            reason = f"{key} is {config.get(key)!r}, which is not supported"
            raise ModelFileError(f"{path / CONFIG_NAME}: {reason}")
    return config
