"""Model folders in the format of Hugging Face's libraries: JSON files and safetensors::

    config.json                     shape of the model
    generation_config.json          ids of the tokens that end a completion
    tokenizer.json, tokenizer_config.json, chat_template.jinja
    model.safetensors               the tensors; a large model has shards instead, and
    model.safetensors.index.json    the shard of each tensor

Shards are mapped into memory, and each tensor is read when it is needed. Nothing in a folder is
executed, so pickled weights are not supported.

Format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from archon.errors import ModelFileError

CONFIG = "config.json"
WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_DTYPES = ("F32", "F16", "BF16")
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


@dataclass(frozen=True, slots=True)
class ShardTensor:
    """Shape of a tensor, and the open file that contains it."""

    shape: tuple[int, ...]
    shard: Any
    """The open file, a ``safetensors.safe_open``."""


class ModelFolder:
    """An open model folder: its configuration (``config``) and tensors (``tensors``).

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
            raise ModelFileError(f"{path}: the folder has no {CONFIG}")
        self.config = config
        self.tensors: dict[str, ShardTensor] = {}
        for name, expected in self._shards().items():
            found = self._open(path / name)
            if missing := expected - found.keys():
                raise ModelFileError(f"{path / name}: has no tensor {min(missing)!r}")
            if twice := found.keys() & self.tensors.keys():
                raise ModelFileError(f"{path / name}: tensor {min(twice)!r} is in two shards")
            self.tensors |= found

    def tensor(self, name: str) -> Tensor:
        """Read a tensor as float32."""
        if name not in self.tensors:
            raise ModelFileError(f"{self.path}: has no tensor {name!r}")
        stored: Tensor = self.tensors[name].shard.get_tensor(name)
        return stored.to(torch.float32)

    def json(self, name: str) -> dict[str, Any] | None:
        """Read the JSON object in a file of the folder, or return None if it does not exist."""
        return read_json(self.path / name)

    def text(self, name: str) -> str | None:
        """Read a text file of the folder, or return None if it does not exist."""
        return read_text(self.path / name)

    def _shards(self) -> dict[str, set[str]]:
        """Return the names of the tensors in each weight file according to the index, by file name.

        A folder with a single weight file needs no index; in this case, the set of names is empty.
        """
        if (self.path / WEIGHTS).is_file():
            return {WEIGHTS: set()}
        index = self.json(_INDEX)
        if index is None:
            raise ModelFileError(f"{self.path}: has neither {WEIGHTS} nor {_INDEX}")
        weight_map = index.get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise ModelFileError(f"{self.path / _INDEX}: weight_map is missing or not an object")
        shards: dict[str, set[str]] = {}
        for tensor, name in weight_map.items():
            # A name with a slash could refer to any file of the machine.
            if not isinstance(name, str) or Path(name).name != name:
                raise ModelFileError(
                    f"{self.path / _INDEX}: weight_map.{tensor} is {name!r}, not the name of a "
                    "file in the folder"
                )
            shards.setdefault(name, set()).add(tensor)
        return dict(sorted(shards.items()))

    @staticmethod
    def _open(path: Path) -> dict[str, ShardTensor]:
        if not path.is_file():
            raise ModelFileError(f"{path}: the weight file is missing")
        try:
            shard = safe_open(path, framework="pt")
            names = [name for name in shard.keys() if not name.endswith(_POSITION_IDS)]  # noqa: SIM118
            slices = {name: shard.get_slice(name) for name in names}
            for name, part in slices.items():
                if part.get_dtype() not in _DTYPES:
                    kind = part.get_dtype()
                    raise ModelFileError(f"{path}: tensor {name!r} has unsupported type {kind}")
            return {n: ShardTensor(tuple(part.get_shape()), shard) for n, part in slices.items()}
        except (SafetensorError, OSError) as error:
            raise ModelFileError(f"{path}: is damaged: {error}") from None
