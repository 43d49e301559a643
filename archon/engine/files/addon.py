"""Folders of add-ons to a model (adapters and reward heads): a JSON and a safetensors file."""

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

from archon.engine.files.folder import read_json
from archon.errors import ModelFileError


@dataclass(frozen=True, slots=True)
class AddonFiles:
    """Folder format of one kind of add-on, with methods to read and write such folders."""

    kind: str
    """Name of the kind in error messages, such as ``adapter``."""
    config: str
    """Name of the JSON file."""
    tensors: str
    """Name of the safetensors file."""

    def read_config(self, path: Path) -> dict[str, Any]:
        """Read the JSON object of a folder.

        Raises
        ------
        ModelFileError
            The file is missing, or is not a JSON object.
        """
        config = read_json(path / self.config)
        if config is None:
            raise self._missing(path, self.config)
        return config

    def read_tensors(self, path: Path) -> dict[str, Tensor]:
        """Read the tensors of a folder by name.

        Raises
        ------
        ModelFileError
            The file is missing or damaged.
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
        """Return the SHA-256 of the sizes and contents of both files.

        Raises
        ------
        ModelFileError
            A file is missing.
        """
        digest = hashlib.sha256()
        for name in (self.config, self.tensors):
            try:
                content = (path / name).read_bytes()
            except FileNotFoundError:
                raise self._missing(path, name) from None
            digest.update(f"{len(content)} ".encode() + content)
        return digest.hexdigest()

    def write(self, path: Path, config: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
        """Write a folder; each file is written atomically."""
        path.mkdir(parents=True, exist_ok=True)
        fresh = {name: path / f".{name}.{os.getpid()}" for name in (self.tensors, self.config)}
        save_file(tensors, fresh[self.tensors], {"format": "pt"})
        fresh[self.config].write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        for name, file in fresh.items():
            file.replace(path / name)

    def _missing(self, path: Path, name: str) -> ModelFileError:
        return ModelFileError(f"{path}: the file {name} of the {self.kind} is missing")
