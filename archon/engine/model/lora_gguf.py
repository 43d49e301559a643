"""LoRA adapters in GGUF files, as llama.cpp's ``convert_lora_to_gguf.py`` writes them.

The file has the keys ``general.type`` (``adapter``), ``adapter.type`` (``lora``),
``general.architecture`` (the model's) and ``adapter.lora.alpha``. Each adapted tensor has two
factors with the tensor's name: ``blk.0.attn_q.weight.lora_a``, (R, I), and ``….lora_b``, (O, R).
Their product is scaled by alpha / R. Rows of q and k are in the order of the model's GGUF files.
"""

from __future__ import annotations

import hashlib
import math
import re
from pathlib import Path
from typing import Any

from torch import Tensor

from archon.engine.files.gguf import GGUFFile
from archon.engine.model.config import DecoderConfig
from archon.engine.model.families.traits import HEAD, layer_prefix
from archon.engine.model.lora import HEAD_NAME, Adapter
from archon.engine.model.weights import rope_halves_order
from archon.errors import ModelFileError

_FACTOR = re.compile(r"(?:blk\.(\d{1,9})\.)?(.+)\.lora_([ab])")


def read_gguf_adapter(path: Path, config: DecoderConfig) -> Adapter:
    """Read an adapter from a GGUF file.

    Parameters
    ----------
    config
        The model that it adapts.

    Raises
    ------
    ModelFileError
        The file is damaged, is not a LoRA adapter, or is for another family.
    """
    file = GGUFFile(path)
    _check_keys(file, config)
    alpha = _alpha(file)
    halves: dict[str, dict[str, Tensor]] = {}
    for key in file.tensors:
        name, half = _layer_of(file, key, config)
        halves.setdefault(name, {})[half] = file.tensor(key)
    if not halves:
        raise ModelFileError(f"{path}: has no tensors, so it changes nothing")
    pairs = {}
    for name, factors in halves.items():
        if factors.keys() != {"a", "b"}:
            raise ModelFileError(f"{path}: {name} lacks lora_a or lora_b")
        a_RI, b_OR = factors["a"], factors["b"]
        if a_RI.dim() != 2 or b_OR.dim() != 2 or len(a_RI) != b_OR.shape[1]:
            raise ModelFileError(f"{path}: the factors of {name} do not have the same rank")
        if config.traits.gguf_interleaves_rope and name.endswith(("q_proj", "k_proj")):
            if len(b_OR) % config.head_width:
                raise ModelFileError(f"{path}: {name} has {len(b_OR)} rows, not those of heads")
            b_OR = rope_halves_order(b_OR, config.head_width)
        # llama.cpp takes an alpha of 0 as a scale of 1.
        pairs[name] = (a_RI, b_OR * (alpha / len(a_RI) if alpha else 1.0))
    rank = max(len(a_RI) for a_RI, _ in pairs.values())
    return Adapter(rank, alpha, pairs, 1.0, path, hashlib.sha256(path.read_bytes()).hexdigest())


def _check_keys(file: GGUFFile, config: DecoderConfig) -> None:
    expected = {
        "general.type": "adapter",
        "adapter.type": "lora",
        "general.architecture": config.traits.architecture,
    }
    for key, value in expected.items():
        found: Any = file.metadata.get(key)
        if found != value:
            raise ModelFileError(
                f"{file.path}: {key} is {found!r}, not {value!r}: a card's adapter must be a LoRA "
                "adapter for its model"
            )
    if "adapter.alora.invocation_tokens" in file.metadata:
        raise ModelFileError(f"{file.path}: activated LoRA is not supported")


def _alpha(file: GGUFFile) -> float:
    alpha: Any = file.metadata.get("adapter.lora.alpha", 0.0)
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 <= alpha < math.inf:
        raise ModelFileError(f"{file.path}: adapter.lora.alpha is {alpha!r}, not a number")
    return float(alpha)


def _layer_of(file: GGUFFile, key: str, config: DecoderConfig) -> tuple[str, str]:
    """Return the linear layer of a tensor, by its name in model folders, and ``a`` or ``b``."""
    found = _FACTOR.fullmatch(key)
    if found is not None and found[1] is None and found[2] == HEAD.gguf:
        return HEAD_NAME, found[3]
    if found is not None and found[1] is not None:
        for tensor in config.traits.linears.values():
            if tensor.gguf == found[2]:
                return layer_prefix(int(found[1])) + tensor.hf.removesuffix(".weight"), found[3]
    raise ModelFileError(
        f"{file.path}: tensor {key!r} is not supported: it is not the lora_a or lora_b of a linear "
        "layer of this model"
    )
