"""Reading a model folder as Hugging Face's libraries write it: JSON files, and safetensors.

::

    config.json                     the decoder's shape
    generation_config.json          which tokens end a text
    tokenizer.json, tokenizer_config.json, chat_template.jinja
    model.safetensors               the tensors; or, of a large model, shards and
    model.safetensors.index.json    which tensor lies in which shard

Shards are mapped, not read; a tensor is read when it is asked for. Nothing in a folder is
executed: where there are only pickled weights, it is refused.

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
_COUNTER = "embeddings.position_ids"
"""Older encoders carry the numbers 0, 1, 2, … along, which are no parameters."""


@dataclass(frozen=True, slots=True)
class ShardTensor:
    """A tensor that lies in one of the folder's files."""

    shape: tuple[int, ...]
    shard: Any
    """The open file: a ``safetensors.safe_open``."""


class ModelFolder:
    """An open model folder: ``config`` and ``tensors``.

    Parameters
    ----------
    path
        The folder.

    Raises
    ------
    ModelFileError
        A file is missing, damaged, or holds tensors of an unsupported type.
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
        """A tensor of the folder as float32."""
        if name not in self.tensors:
            raise ModelFileError(f"{self.path}: has no tensor {name!r}")
        stored: Tensor = self.tensors[name].shard.get_tensor(name)
        return stored.to(torch.float32)

    def json(self, name: str) -> dict[str, Any] | None:
        """What one of the folder's JSON files says, or None where it is not there."""
        content = self.text(name)
        if content is None:
            return None
        try:
            value = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ModelFileError(f"{self.path / name}: is not JSON: {error}") from None
        if not isinstance(value, dict):
            raise ModelFileError(f"{self.path / name}: is not a JSON object")
        return value

    def text(self, name: str) -> str | None:
        """The text of one of the folder's files, or None where it is not there."""
        try:
            return (self.path / name).read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ModelFileError(f"{self.path / name}: cannot be read: {error}") from None

    def _shards(self) -> dict[str, set[str]]:
        """Names of the folder's files of weights → tensors that the index says are in them."""
        if (self.path / WEIGHTS).is_file():
            return {WEIGHTS: set()}
        index = self.json(_INDEX)
        if index is None:
            raise ModelFileError(f"{self.path}: has neither {WEIGHTS} nor {_INDEX}")
        places = index.get("weight_map")
        if not isinstance(places, dict) or not places:
            raise ModelFileError(f"{self.path / _INDEX}: weight_map is missing or no object")
        shards: dict[str, set[str]] = {}
        for tensor, name in places.items():
            # A name with a folder in it could lead anywhere on the machine.
            if not isinstance(name, str) or Path(name).name != name:
                raise ModelFileError(f"{self.path / _INDEX}: weight_map.{tensor} is {name!r}")
            shards.setdefault(name, set()).add(tensor)
        return dict(sorted(shards.items()))

    @staticmethod
    def _open(path: Path) -> dict[str, ShardTensor]:
        if not path.is_file():
            raise ModelFileError(f"{path}: the shard is missing")
        try:
            shard = safe_open(path, framework="pt")
            names = [name for name in shard.keys() if not name.endswith(_COUNTER)]  # noqa: SIM118
            slices = {name: shard.get_slice(name) for name in names}
            for name, part in slices.items():
                if part.get_dtype() not in _DTYPES:
                    kind = part.get_dtype()
                    raise ModelFileError(f"{path}: tensor {name!r} has unsupported type {kind}")
            return {n: ShardTensor(tuple(part.get_shape()), shard) for n, part in slices.items()}
        except (SafetensorError, OSError) as error:
            raise ModelFileError(f"{path}: is damaged: {error}") from None
