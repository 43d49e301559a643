"""What is added to a model, in a folder of two files: a JSON object, and tensors (safetensors)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from archon.errors import ModelFileError


@dataclass(frozen=True, slots=True)
class AddonFiles:
    """How the files of one kind of part are called, and the kind itself in errors."""

    kind: str
    config: str
    tensors: str

    def read_config(self, path: Path) -> dict[str, Any]:
        """The JSON object of a folder.

        Raises
        ------
        ModelFileError
            It is missing, or none.
        """
        file = path / self.config
        try:
            config = json.loads(file.read_text(encoding="utf-8-sig"))
        except FileNotFoundError:
            raise self._missing(path, self.config) from None
        except (OSError, ValueError, RecursionError) as error:
            raise ModelFileError(f"{file}: cannot be read: {error}") from None
        if not isinstance(config, dict):
            raise ModelFileError(f"{file}: is not a JSON object")
        return config

    def read_tensors(self, path: Path) -> dict[str, Tensor]:
        """The tensors of a folder, by name.

        Raises
        ------
        ModelFileError
            They are missing or damaged.
        """
        file = path / self.tensors
        try:
            with safe_open(file, framework="pt") as opened:
                return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        except FileNotFoundError:
            raise self._missing(path, self.tensors) from None
        except (SafetensorError, OSError) as error:
            raise ModelFileError(f"{file}: is damaged: {error}") from None

    def digest(self, path: Path) -> str:
        """SHA-256 of both files."""
        digest = hashlib.sha256()
        for name in (self.config, self.tensors):
            content = (path / name).read_bytes()
            digest.update(f"{len(content)} ".encode() + content)
        return digest.hexdigest()

    def write(self, path: Path, config: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
        """Write a folder, each file whole or not at all."""
        path.mkdir(parents=True, exist_ok=True)
        fresh = {name: path / f".{name}.{os.getpid()}" for name in (self.tensors, self.config)}
        save_file(tensors, fresh[self.tensors], {"format": "pt"})
        fresh[self.config].write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        for name, file in fresh.items():
            file.replace(path / name)

    def _missing(self, path: Path, name: str) -> ModelFileError:
        return ModelFileError(f"{path}: is no {self.kind}: it has no {name}")
