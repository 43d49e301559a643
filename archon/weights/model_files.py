"""The files of a model, and the digest of all of them.

A folder may hold more, such as a README or weights in other formats: that is neither downloaded
nor counted. A GGUF model that is split into several files is all of them, whichever is named.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

CONFIG_NAME = "config.json"
PATTERNS = (
    CONFIG_NAME, "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "chat_template.jinja", "model.safetensors.index.json", "*.safetensors",
)  # fmt: skip


POOLING_FILES = (
    "modules.json", "config_sentence_transformers.json", "1_Pooling/config.json",
)  # fmt: skip
"""What a sentence encoder's folder says of how tokens become a vector: downloaded with it, but no
part of its digest."""


def is_model_file(name: str) -> bool:
    """Whether a folder's file of this name may be read by the engine."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in PATTERNS)


_PART = re.compile(
    r"(?P<start>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<end>(\.gguf)?)", re.DOTALL
)


def part_names(name: str) -> list[str]:
    """The files of a split model by the name of one of them; the name alone of any other file.

    >>> part_names("m-00002-of-00002.gguf")
    ['m-00001-of-00002.gguf', 'm-00002-of-00002.gguf']
    """
    found = _PART.fullmatch(name)
    if found is None or not 1 <= int(found["number"]) <= int(found["count"]):
        return [name]
    count = int(found["count"])
    numbers = range(1, count + 1)
    return [f"{found['start']}-{i:05d}-of-{count:05d}{found['end']}" for i in numbers]


def files_of(path: Path) -> list[Path]:
    """A model's files: the one file, all parts of a split one that are there, or those of the
    folder that the engine may read, by name."""
    if not path.is_dir():
        parts = [path.with_name(name) for name in part_names(path.name)]
        return [part for part in parts if part == path or part.is_file()]
    names = sorted(p.name for p in path.iterdir() if p.is_file())
    return [path / name for name in names if is_model_file(name)]


def num_bytes_of(path: Path) -> int:
    """The size of a model's file, or of its folder's files together."""
    return sum(file.stat().st_size for file in files_of(path))


def folder_digest(digests: Iterable[tuple[str, str]]) -> str:
    """The digest of several files: SHA-256 of lines ``<sha256 of a file>  <its name>``, by name.

    They are the lines that ``sha256sum`` prints for the files.
    """
    lines = sorted((name, f"{sha256}  {name}\n") for name, sha256 in digests)
    return hashlib.sha256("".join(line for _, line in lines).encode()).hexdigest()
