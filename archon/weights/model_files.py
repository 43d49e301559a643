"""A model's files and their combined digest.

Other files in a folder, such as a README or weights in other formats, are neither downloaded nor
part of the digest. A GGUF model may be split into several files; the name of any of them identifies
the model.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

CONFIG_NAME = "config.json"
PATTERNS = (
    CONFIG_NAME, "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "chat_template.jinja", "model.safetensors.index.json", "*.safetensors",
)  # fmt: skip
"""Name patterns of the files in a model folder that the engine may read."""
POOLING_FILES = (
    "modules.json", "config_sentence_transformers.json", "1_Pooling/config.json",
)  # fmt: skip
"""Files about the pooling of a sentence encoder; downloaded, but not part of the digest."""
TOKENIZER_FILES = (
    "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt", "added_tokens.json",
    "special_tokens_map.json", "tekken.json", "tiktoken.model", "*.tiktoken",
)  # fmt: skip
"""Files of tokenizers other than ``tokenizer.json``; downloaded, but not part of the digest."""
INDEX_NAME = "model.safetensors.index.json"
_TOKENIZERS = (
    "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json", "tiktoken.model",
    "*.tiktoken",
)  # fmt: skip


def is_model_file(name: str) -> bool:
    """Return whether the engine may read a file with this name in a model folder."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in PATTERNS)


_PART = re.compile(
    r"(?P<start>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<end>(\.gguf)?)", re.DOTALL
)


def part_names(name: str) -> list[str]:
    """Return the names of all parts of a split model; for any other file, only its own name.

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
    """Return the files of a model, sorted by name.

    If ``path`` is a file, the result is the file and, for a split model, all other parts that
    exist. If it is a folder, the result is the files that the engine may read.
    """
    if not path.is_dir():
        parts = [path.with_name(name) for name in part_names(path.name)]
        return [part for part in parts if part == path or part.is_file()]
    names = sorted(p.name for p in path.iterdir() if p.is_file())
    return [path / name for name in names if is_model_file(name)]


def is_complete_folder(path: Path) -> bool:
    """Return True for a folder with a configuration, a tokenizer, and all shards of its weights."""
    names = {file.name for file in path.iterdir()} if path.is_dir() else set()
    if CONFIG_NAME not in names or not any(fnmatch.filter(names, kind) for kind in _TOKENIZERS):
        return False
    if INDEX_NAME not in names:
        return any(name.endswith(".safetensors") for name in names)
    try:
        index = json.loads((path / INDEX_NAME).read_text(encoding="utf-8"))
        return names >= set(index["weight_map"].values())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def num_bytes_of(path: Path) -> int:
    """Return the total size of a model's files, in bytes."""
    return sum(file.stat().st_size for file in files_of(path))


def folder_digest(digests: Iterable[tuple[str, str]]) -> str:
    """Return the combined digest of several files, given as pairs of name and SHA-256.

    It is the SHA-256 of the lines that ``sha256sum`` prints for the files, sorted by name.
    """
    lines = sorted((name, f"{sha256}  {name}\n") for name, sha256 in digests)
    return hashlib.sha256("".join(line for _, line in lines).encode()).hexdigest()
