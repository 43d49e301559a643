"""Model folders in the format of Hugging Face's libraries: JSON files and safetensors::

    config.json                     shape of the model
    generation_config.json          ids of the tokens that end a completion
    tokenizer.json, tokenizer_config.json, chat_template.jinja
    model.safetensors               the tensors; a large model has shards instead, and
    model.safetensors.index.json    the shard of each tensor

Shards are mapped into memory; a tensor is read when it is needed. Quantized weights are dequantized
then (``quantization``). Nothing in a folder is executed, so pickled weights are not supported.

Format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from archon.engine.files.quantization import dequantized
from archon.engine.files.quantization.stored import SettingError, Settings, StoredTensor
from archon.engine.files.text_part import is_combined, text_config, text_tensors
from archon.errors import ModelFileError

CONFIG = "config.json"
WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_DTYPES = ("F64", "F32", "F16", "BF16")
_QUANTIZATION_KEYS = ("quantization_config", "compression_config")
_QUANTIZATION_FILES = {"quantize_config.json": "gptq", "quant_config.json": "awq"}
_MAX_NAMED = 5
"""Maximum files that an error names."""
_POSITION_IDS = "embeddings.position_ids"
"""Name of a tensor in older encoders' files: the numbers 0, 1, 2, …, which are no parameters."""


def read_text(path: Path) -> str | None:
    """Read a text file, or return None if it does not exist.

    Raises
    ------
    ModelFileError
        The file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path}: cannot be read: {error}") from None


def read_json(path: Path) -> dict[str, Any] | None:
    """Read the JSON object in a file, or return None if the file does not exist.

    Raises
    ------
    ModelFileError
        The file cannot be read, or is not a JSON object.
    """
    content = read_text(path)
    if content is None:
        return None
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ModelFileError(f"{path} must be a JSON object")
    return value


class ModelFolder:
    """An open model folder: its configuration (``config``) and tensors (``tensors``).

    Quantized weights appear as the tensors that they represent (``quantization``), and ``config``
    does not mention the quantization. Of a model that also reads images or sound, only the language
    model appears (``text_part``).

    Parameters
    ----------
    path
        The folder.

    Raises
    ------
    ModelFileError
        A file is missing or damaged, or has tensors of an unsupported type.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        config = self.json(CONFIG)
        if config is None:
            raise ModelFileError(f"{path}: the folder has no {CONFIG}{_gguf_hint(path)}")
        self.combined = str(config["model_type"]) if is_combined(config) else ""
        """``model_type`` of the complete model if this is only its language model; else ""."""
        self.config = text_config(config, path / CONFIG) if self.combined else config
        stored: dict[str, StoredTensor] = {}
        for name, expected in self._shards().items():
            found = _open(path / name)
            if missing := expected - found.keys():
                raise ModelFileError(f"{path / name}: has no tensor {min(missing)!r}")
            if twice := found.keys() & stored.keys():
                raise ModelFileError(f"{path / name}: tensor {min(twice)!r} is in two shards")
            stored |= found
        tensors = self._dequantized(stored)
        self.tensors: dict[str, StoredTensor] = text_tensors(tensors) if self.combined else tensors
        self._check_types()

    def tensor(self, name: str) -> Tensor:
        """Read a tensor as float32."""
        if name not in self.tensors:
            raise ModelFileError(f"{self.path}: has no tensor {name!r}")
        try:
            return self.tensors[name].read().to(torch.float32)
        except (ValueError, IndexError, KeyError, RuntimeError) as error:
            raise ModelFileError(f"{self.path}: tensor {name!r} is damaged: {error}") from None

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Return ``tensor(name)[start:stop]``, as ``GGUFFile.rows`` does."""
        found = self.tensor(name)
        if not 0 <= start < stop <= len(found):
            raise ModelFileError(
                f"{self.path}: tensor {name!r} of shape {tuple(found.shape)} has no rows {start} "
                f"to {stop}"
            )
        return found[start:stop]

    def json(self, name: str) -> dict[str, Any] | None:
        """Read the JSON object in a file of the folder, or return None if it does not exist."""
        return read_json(self.path / name)

    def text(self, name: str) -> str | None:
        """Read a text file of the folder, or return None if it does not exist."""
        return read_text(self.path / name)

    def _shards(self) -> dict[str, set[str]]:
        return weight_files(self)

    def _dequantized(self, stored: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
        """Replace the tensors of quantized weights by the weights, as ``config`` demands."""
        settings = [self.config.pop(key, None) for key in _QUANTIZATION_KEYS]
        stated, file = next((s for s in settings if s not in (None, {})), None), CONFIG
        if stated is None and any(name.endswith(".qweight") for name in stored):
            # Folders of the first versions have the settings in a separate file.
            for name, method in _QUANTIZATION_FILES.items():
                if (found := self.json(name)) is not None:
                    stated, file = {"quant_method": method, **found}, name
        if stated is None:
            return stored
        try:
            return dequantized(Settings(stated), stored)
        except SettingError as error:
            raise ModelFileError(f"{self.path / file}: {error}") from None
        except ValueError as error:
            raise ModelFileError(f"{self.path}: {error}") from None
        except (LookupError, TypeError, AttributeError, RuntimeError) as error:
            raise ModelFileError(
                f"{self.path}: the quantized weights are damaged: {type(error).__name__}: {error}"
            ) from None

    def _check_types(self) -> None:
        for name, tensor in self.tensors.items():
            if tensor.dtype not in _DTYPES:
                raise ModelFileError(
                    f"{self.path}: tensor {name!r} has unsupported type {tensor.dtype}. If the "
                    f"weights are quantized, {CONFIG} must have quantization_config"
                )


def weight_files(folder: ModelFolder) -> dict[str, set[str]]:
    """Return the names of the weight files → their tensors according to the index, if any.

    Raises
    ------
    ModelFileError
        There are none, or the index is damaged.
    """
    path = folder.path
    if (path / WEIGHTS).is_file():
        return {WEIGHTS: set()}
    indices = sorted(file.name for file in path.glob("*.safetensors.index.json"))
    if len(indices) == 1 or _INDEX in indices:
        return _indexed(folder, _INDEX if _INDEX in indices else indices[0])
    files = sorted(file.name for file in path.glob("*.safetensors"))
    if len(files) == 1:
        return {files[0]: set()}
    if files:
        raise ModelFileError(
            f"{path}: has several files of tensors ({', '.join(files[:_MAX_NAMED])}), but no "
            f"{_INDEX} that lists them"
        )
    pickled = [file.name for end in ("bin", "pt", "pth") for file in path.glob(f"*.{end}")]
    if pickled:
        raise ModelFileError(
            f"{path}: the weights are pickled ({pickled[0]}), and a pickle can run any program. "
            "Convert them to safetensors with transformers: "
            "AutoModelForCausalLM.from_pretrained(folder).save_pretrained(new_folder)"
        )
    raise ModelFileError(f"{path}: has neither {WEIGHTS} nor {_INDEX}{_gguf_hint(path)}")


def _indexed(folder: ModelFolder, name: str) -> dict[str, set[str]]:
    weight_map = (folder.json(name) or {}).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelFileError(f"{folder.path / name}: weight_map is missing or not an object")
    shards: dict[str, set[str]] = {}
    for tensor, file in weight_map.items():
        # A name with a slash could refer to any file of the machine.
        if not isinstance(file, str) or Path(file).name != file:
            raise ModelFileError(f"{folder.path / name}: weight_map.{tensor} is {file!r}")
        if not tensor.endswith(_POSITION_IDS):
            shards.setdefault(file, set()).add(tensor)
    return dict(sorted(shards.items()))


def _open(path: Path) -> dict[str, StoredTensor]:
    if not path.is_file():
        raise ModelFileError(f"{path}: the weight file is missing")
    try:
        shard = safe_open(path, framework="pt")
        names = [name for name in shard.keys() if not name.endswith(_POSITION_IDS)]  # noqa: SIM118
        slices = {name: shard.get_slice(name) for name in names}
        return {
            name: StoredTensor(
                tuple(part.get_shape()), part.get_dtype(), partial(shard.get_tensor, name)
            )
            for name, part in slices.items()
        }
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path}: is damaged: {error}") from None


def _gguf_hint(path: Path) -> str:
    """Return the cure for a folder that has GGUF files only."""
    files = sorted(file.name for file in path.glob("*.gguf"))
    return f". It has GGUF files; give the path of one: {path / files[0]}" if files else ""
