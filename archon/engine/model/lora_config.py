"""Folders of LoRA adapters in the format of the library peft::

    adapter_config.json          rank, alpha, names of the changed layers
    adapter_model.safetensors    base_model.model.<layer>.lora_A.weight, … .lora_B.weight

Other tensors are the magnitudes of DoRA (``lora_magnitude_vector``), the factors of an embedding
(``lora_embedding_A``, ``_B``), biases, and weights of the modules in ``modules_to_save``.

The keys of the configuration are those of peft's ``LoraConfig`` and its base classes. Each has a
rule (``archon.engine.files.key_rules``). ``target_modules`` is a list of suffixes of layer names,
or a regular expression that matches whole names. The keys of ``rank_pattern`` and
``alpha_pattern`` are regular expressions as well. The files are not trusted, and matching can take
exponential time, so expressions with too many repetitions are rejected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from archon.engine.files.addon import AddonFiles
from archon.engine.files.key_rules import KeyRules, shown
from archon.engine.model.lora import EMBEDDING_NAME, HEAD_NAME, Adapter
from archon.errors import ModelFileError

CONFIG_NAME, TENSORS_NAME = "adapter_config.json", "adapter_model.safetensors"
FILES = AddonFiles("adapter", CONFIG_NAME, TENSORS_NAME)
_PREFIX = "base_model.model."
_TENSOR = re.compile(
    r"base_model\.model\.(?P<layer>.+?)\.(?:lora_(?:(?P<half>[AB])\.weight|"
    r"embedding_(?P<of_embedding>[AB])|(?P<magnitude>magnitude_vector)(?:\.weight)?|"
    r"B\.(?P<added>bias))|(?:(?P<base>base_layer)\.)?(?P<replaced>weight|bias))"
)
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
_LONGEST_NAME, _MOST_REPEATS = 100, 8
_REPEAT = re.compile(r"[*+]|,\}")
_REPEATED_GROUP = re.compile(r"\)[*+{]")

PRESERVING_INITS = ("gaussian", "eva", "orthogonal", "mica")
"""Initialisations that do not change the model's weights.

The others (pissa, olora, loftq, corda, lora_ga) subtract the initial adapter from the weights, so
the adapter fits only the changed weights. If peft has converted it to the original weights
(``path_initial_model_for_weight_conversion``), its ``init_lora_weights`` is true.
"""

ADAPTER_RULES = KeyRules(
    computed=frozenset({
        "peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern",
        "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern",
        "init_lora_weights", "ensure_weight_tying", "use_dora", "modules_to_save", "bias",
        "lora_bias",
    }),
    irrelevant=frozenset({
        "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision",
        "inference_mode", "lora_dropout", "runtime_config", "merge_weights",
        "qalora_group_size",  # has no effect without use_qalora
        "megatron_core",  # has no effect without megatron_config
        # Settings of the initialisations that ``init_lora_weights`` names.
        "eva_config", "corda_config", "lora_ga_config",
    }),
    null_only=frozenset({
        "monteclora_config", "arrow_config", "velora_config", "kasa_config", "megatron_config",
    }),
    neutral={
        "fan_in_fan_out": (),
        "trainable_token_indices": (), "loftq_config": (), "alora_invocation_tokens": (),
        "alora_invocation_string": (), "use_qalora": (), "layer_replication": (),
        "target_parameters": (), "use_bdlora": (), "enable_lora": (),
    },
    irrelevant_names=re.compile(r"(\w+_)?version|unsloth_\w+|wandb_\w+|.*dropout.*"),
)  # fmt: skip


@dataclass(slots=True)
class _Tensors:
    """The tensors of a file, by the names of the layers or tensors that they change."""

    halves: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    magnitudes: dict[str, Tensor] = field(default_factory=dict)
    replaced: dict[str, Tensor] = field(default_factory=dict)
    added: dict[str, Tensor] = field(default_factory=dict)


def read_adapter(path: Path) -> Adapter:
    """Read an adapter from its folder.

    If ``rank_pattern`` or ``alpha_pattern`` change the scale of a layer, B of that layer is
    multiplied by the ratio to the adapter's scale.

    Raises
    ------
    ModelFileError
        A file is missing or damaged, or has a setting that is not supported.
    """
    config = _read_config(path)
    rank, alpha = _positive(config, "r", path), _positive(config, "lora_alpha", path)
    scale = _scale(config, rank, alpha)
    tensors, pairs, added = _read_tensors(path, config), {}, {}
    for name, half in tensors.halves.items():
        a_RI, b_OR = half["A"], half["B"]
        if _is_excluded(config, name, path / CONFIG_NAME):
            raise ModelFileError(
                f"{path / TENSORS_NAME}: changes {name!r}, which target_modules, exclude_modules "
                f"or layers_to_transform in {CONFIG_NAME} exclude"
            )
        own_rank = _by_pattern(config, "rank_pattern", name, rank, path)
        own_alpha = _by_pattern(config, "alpha_pattern", name, alpha, path)
        if a_RI.dim() != 2 or b_OR.dim() != 2 or not len(a_RI) == b_OR.shape[1] == own_rank:
            raise ModelFileError(f"{path / TENSORS_NAME}: {name} does not have rank {own_rank:g}")
        own_scale = _scale(config, own_rank, own_alpha)
        pairs[name] = (a_RI, b_OR if own_scale == scale else b_OR * (own_scale / scale))
        if name in tensors.added:
            added[f"{name}.bias"] = own_scale * tensors.added[name]
    _check_tying(config, {*pairs, *tensors.replaced}, path)
    return Adapter(
        int(rank), alpha, pairs, scale, path, FILES.digest(path),
        tensors.magnitudes, tensors.replaced, added,
    )  # fmt: skip


def _check_tying(config: Mapping[str, Any], changed: set[str], path: Path) -> None:
    outer = {name.removesuffix(".weight") for name in changed} & {HEAD_NAME, EMBEDDING_NAME}
    if config.get("ensure_weight_tying") and outer:
        raise ModelFileError(
            f"{path / CONFIG_NAME}: ensure_weight_tying is true and {min(outer)} is adapted: this "
            "would adapt both the embedding and the head, which is not supported"
        )


def _read_tensors(path: Path, config: Mapping[str, Any]) -> _Tensors:
    """Read the tensors; reject those that peft would ignore, or that do not belong together."""
    file, read, keys = path / TENSORS_NAME, _Tensors(), dict[str, str]()
    for key, stored in FILES.read_tensors(path).items():
        found = _TENSOR.fullmatch(key)
        if found is None or not _is_expected(found, config):
            raise ModelFileError(
                f"{file}: tensor {key!r} is not supported: it is neither lora_A nor lora_B of a "
                f"linear layer, and no setting in {CONFIG_NAME} enables it"
            )
        name, tensor = found["layer"], stored.float()
        if half := found["half"]:
            read.halves.setdefault(name, {})[half] = tensor
        elif half := found["of_embedding"]:  # E[t] + B·A[:, t]: factors of the transposed matrix
            read.halves.setdefault(name, {})["A" if half == "B" else "B"] = tensor.t()
        elif found["magnitude"]:
            read.magnitudes[name] = tensor.flatten()
        elif found["added"]:
            read.added[name] = tensor
        else:
            read.replaced[f"{name}.{found['replaced']}"] = tensor
        if not found["replaced"] or (found["base"] and found["replaced"] == "weight"):
            keys[name] = key
    if not read.halves and not read.replaced:
        raise ModelFileError(f"{file}: has no tensors, so it changes nothing")
    for name, key in keys.items():
        if read.halves.get(name, {}).keys() != {"A", "B"}:
            raise ModelFileError(f"{file}: {name} lacks lora_A or lora_B, but has {key!r}")
    if config.get("use_dora") and (plain := sorted({*read.halves} - {*read.magnitudes})):
        raise ModelFileError(f"{file}: use_dora is true, but {plain[0]} has no magnitudes")
    return read


def _is_expected(found: re.Match[str], config: Mapping[str, Any]) -> bool:
    """Return True if peft would load this tensor under the adapter's configuration."""
    name = found["layer"]
    if found["of_embedding"]:
        return name == EMBEDDING_NAME and not config.get("use_dora")
    if found["magnitude"]:
        return bool(config.get("use_dora"))
    if found["added"]:
        return bool(config.get("lora_bias"))
    if not found["replaced"]:
        return name != EMBEDDING_NAME
    if found["replaced"] == "bias" and config.get("bias") in ("all", "lora_only"):
        return bool(found["base"]) or config.get("bias") == "all"
    return bool(found["base"]) or name.endswith(tuple(config.get("modules_to_save") or ()))


def _scale(config: Mapping[str, Any], rank: float, alpha: float) -> float:
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _by_pattern(
    config: Mapping[str, Any], key: str, name: str, default: float, path: Path
) -> float:
    """Return a layer's rank or alpha: the value of the first pattern that matches its name."""
    patterns = config.get(key) or {}
    pattern = _first_match(patterns, name, path / CONFIG_NAME)
    return default if pattern is None else _positive(patterns, pattern, path, f"{key}.")


def _positive(values: Mapping[str, Any], key: str, path: Path, prefix: str = "") -> float:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        reason = f"{prefix}{key} is {shown(value)}, not a number above 0"
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
    """Write an adapter to a folder, which peft can also read.

    Parameters
    ----------
    base
        Name of the model that the adapter was trained on.
    dtype
        Number type of the stored tensors.
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
    """Return the indices of the changed layers, or None if the adapter also changes the head."""
    found = [_LAYER.search(name) for name in names]
    return None if None in found else sorted({int(f[1]) for f in found if f})


def _read_config(path: Path) -> dict[str, Any]:
    config, file = FILES.read_config(path), path / CONFIG_NAME
    if config.get("peft_type") != "LORA":
        raise ModelFileError(
            f"{file}: peft_type is {shown(config.get('peft_type'))}, which is not supported; only "
            "LORA is"
        )
    ADAPTER_RULES.check(config, file)
    if not config.get("target_modules"):
        raise ModelFileError(
            f"{file}: target_modules is missing or empty, so the file does not name the layers "
            "that the adapter changes"
        )
    init = config.get("init_lora_weights")
    is_named = isinstance(init, str) and init.lower() in PRESERVING_INITS
    if not is_named and not isinstance(init, bool | None):
        raise ModelFileError(
            f"{file}: init_lora_weights is {shown(init)}: this initialisation has changed the "
            "model's weights, and the adapter fits only the changed ones. Convert it with peft: "
            "save_pretrained(…, path_initial_model_for_weight_conversion=…)"
        )
    if config.get("bias") not in (None, "none", "all", "lora_only"):
        reason = f"bias is {shown(config['bias'])}, not none, all or lora_only"
        raise ModelFileError(f"{file}: {reason}")
    saved = config.get("modules_to_save")
    if saved is not None and not (isinstance(saved, list) and all(type(m) is str for m in saved)):
        raise ModelFileError(f"{file}: modules_to_save is {shown(saved)}, not a list of names")
    for key in ("use_rslora", "ensure_weight_tying", "use_dora", "lora_bias"):
        if not isinstance(config.get(key), bool | None):
            raise ModelFileError(f"{file}: {key} is {shown(config[key])}, not true or false")
    for key in ("rank_pattern", "alpha_pattern"):
        if not isinstance(config.get(key), dict | None):
            raise ModelFileError(f"{file}: {key} is {shown(config[key])}, not an object")
    return config


def _is_excluded(config: Mapping[str, Any], name: str, file: Path) -> bool:
    """Return True if the configuration excludes a layer, so that peft would ignore its tensors."""
    targets, excluded = config.get("target_modules"), config.get("exclude_modules")
    if excluded and _is_named(name, excluded, file):
        return True
    if targets and targets != "all-linear" and not _is_named(name, targets, file):
        return True
    layers = config.get("layers_to_transform")
    if layers is None or layers == []:
        return False
    index = _LAYER.search(name)
    return index is None or int(index[1]) not in (layers if isinstance(layers, list) else [layers])


def _first_match(patterns: Mapping[str, Any], name: str, file: Path) -> str | None:
    """Return the first pattern that matches a layer's name, or the part of it after any dot."""
    return next((p for p in patterns if _matches(rf"(?:.*\.)?(?:{p})", name, file)), None)


def _is_named(name: str, modules: object, file: Path) -> bool:
    if isinstance(modules, str):
        return _matches(modules, name, file)
    listed = modules if isinstance(modules, list) else []
    return any(name == module or name.endswith(f".{module}") for module in listed)


def _matches(pattern: str, name: str, file: Path) -> bool:
    if len(_REPEAT.findall(pattern)) > _MOST_REPEATS + 1 or _REPEATED_GROUP.search(pattern):
        raise ModelFileError(f"{file}: the expression {pattern!r} has too many repetitions")
    try:
        return len(name) <= _LONGEST_NAME and re.fullmatch(pattern, name) is not None
    except (re.error, RecursionError) as error:
        raise ModelFileError(f"{file}: {pattern!r} is not a regular expression: {error}") from None
