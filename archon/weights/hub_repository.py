"""The files of a repository on the hub, and the choice of a model among them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from archon.errors import ModelError
from archon.spec.messages import shown
from archon.weights.model_files import CONFIG_NAME, part_names

DEFAULT_QUANTIZATION = "Q4_K_M"
_MAX_LISTED = 30
_NO_MODEL = re.compile(r"^mmproj|imatrix", re.IGNORECASE)
"""GGUF files that are no language models: image encoders and statistics of activations."""


@dataclass(frozen=True, slots=True)
class RepositoryFile:
    """A file of a repository."""

    bytes: int | None = None
    sha256: str | None = None
    """None for small files, which the hub does not store by digest."""


@dataclass(frozen=True, slots=True)
class Repository:
    """The hub's description of a repository."""

    commit: str
    files: dict[str, RepositoryFile]
    license: str = ""
    config: dict[str, Any] | None = None
    """Contents of ``config.json``; None if there is none or it was not asked for."""
    gguf: dict[str, Any] | None = None
    """Keys of the GGUF files: ``architecture``, ``context_length``, ``total`` (parameters)."""
    chat_template: str | None = None
    parameters: int | None = None
    """Number of weights in the safetensors."""

    @classmethod
    def of(cls, data: dict[str, Any]) -> Repository:
        """Make one from the data of ``hub_child.repository``."""
        files = {
            file["name"]: RepositoryFile(file["bytes"], file["sha256"]) for file in data["files"]
        }
        return cls(**(data | {"files": files}))

    def model_file(self, wanted: str | None) -> str | None:
        """Return the GGUF file that a source wants; None for the model folder."""
        return model_file(self.files, wanted)

    def num_bytes(self, names: Collection[str]) -> int | None:
        """Return the total size of files, if the hub knows it."""
        sizes = [self.files[name].bytes for name in names if name in self.files]
        return None if not sizes or None in sizes else sum(size or 0 for size in sizes)


def model_file(files: Collection[str], wanted: str | None) -> str | None:
    """Return the GGUF file that a source wants; None for the model folder.

    Parameters
    ----------
    files
        The names of a repository's files.
    wanted
        The name of a file or of a quantization. None stands for the model folder, or in a
        repository that only has GGUF files for the only one or Q4_K_M.

    Raises
    ------
    ModelError
        No file or several files fit; the text lists the files.
    """
    if wanted in files:
        return wanted
    has_folder = CONFIG_NAME in files and any(
        "/" not in name and name.endswith(".safetensors") for name in files
    )
    models = _models(files)
    if wanted is None:
        if has_folder or not models:
            return None
        if len(models) == 1:
            return models[0]
    found = _of_quantization(models, wanted or DEFAULT_QUANTIZATION)
    if len(found) == 1:
        return found[0]
    listed = ", ".join((found or models)[:_MAX_LISTED])
    more = len(found or models) - _MAX_LISTED
    listed = (listed or "no GGUF file at all") + (f" and {more} more" if more > 0 else "")
    if found:
        raise ModelError(f"{shown(wanted)} fits several files; name one of: {listed}")
    if wanted is None:
        reason = f"the repository has several GGUF files, none of them {DEFAULT_QUANTIZATION}"
        raise ModelError(f"{reason}; add ':' and the name of a file or quantization: {listed}")
    raise ModelError(f"the repository has no file {shown(wanted)}; there is: {listed}")


def _models(files: Collection[str]) -> list[str]:
    """Return the GGUF models; of a split one, the first part."""
    names = [
        name
        for name in files
        if name.lower().endswith(".gguf") and not _NO_MODEL.search(PurePosixPath(name).name)
    ]
    return sorted({part_names(name)[0] for name in names})


def _of_quantization(models: Collection[str], wanted: str) -> list[str]:
    """Return the files named ``wanted``, ignoring case; if there are none, those whose names
    contain it as a quantization.
    """
    lower = wanted.lower()
    equal = [name for name in models if name.lower() in (lower, f"{lower}.gguf")]
    if equal:
        return equal
    quantization = re.escape(lower)
    # Q4_K must not find Q4_K_M, unless nothing else fits: some names go on with an underscore.
    for end in ("(?![a-z0-9_])", "(?![a-z0-9])"):
        pattern = re.compile(rf"(?<![a-z0-9]){quantization}{end}")
        found = [name for name in models if pattern.search(name.lower())]
        # "UD-Q4_K_M" is another mixture of formats than the "Q4_K_M" next to it.
        plain = [name for name in found if f"ud-{lower}" not in name.lower()]
        if found:
            return plain or found
    return []
