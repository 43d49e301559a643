"""Which files make up a model folder, and the digest of all of them.

A folder may hold more, such as a README or weights in other formats: that is neither downloaded
nor counted.
"""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterable
from pathlib import Path

CONFIG_NAME = "config.json"
PATTERNS = (
    CONFIG_NAME, "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "chat_template.jinja", "model.safetensors.index.json", "*.safetensors",
)  # fmt: skip


def is_model_file(name: str) -> bool:
    """Whether a folder's file of this name may be read by the engine."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in PATTERNS)


def files_of(path: Path) -> list[Path]:
    """A model's files: the one file, or those of the folder that the engine may read, by name."""
    if not path.is_dir():
        return [path]
    names = sorted(p.name for p in path.iterdir() if p.is_file())
    return [path / name for name in names if is_model_file(name)]


def num_bytes_of(path: Path) -> int:
    """The size of a model's file, or of its folder's files together."""
    return sum(file.stat().st_size for file in files_of(path))


def folder_digest(digests: Iterable[tuple[str, str]]) -> str:
    """The digest of a folder: SHA-256 of the lines ``<sha256 of a file>  <its name>``, by name.

    They are the lines that ``sha256sum`` prints for the files.
    """
    lines = sorted((name, f"{sha256}  {name}\n") for name, sha256 in digests)
    return hashlib.sha256("".join(line for _, line in lines).encode()).hexdigest()
