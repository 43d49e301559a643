"""Detect data files that a user passes instead of a card or an architecture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DATA_SUFFIXES = {
    ".jsonl": "JSON Lines",
    ".ndjson": "JSON Lines",
    ".csv": "CSV",
    ".tsv": "TSV",
    ".parquet": "Parquet",
}
"""File-name suffix → name of the data format. A ``.gz`` may follow the suffix."""
CARD_KEYS = frozenset({"nodes", "backend", "source", "training", "version"})
"""Keys of other files in JSON than data."""
_MAX_LINE_BYTES = 1 << 20
_MAX_JSON_BYTES = 4 << 20


def data_suffix(path: Path) -> str:
    """Return the suffix of a file in lower case, without a final ``.gz``."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def data_format(path: Path) -> str | None:
    """Return a data file's format, or None if the file is not a data file or does not exist.

    A data file has one of ``DATA_SUFFIXES``; or its first two lines are complete JSON objects,
    whereas a card is a single object; or it is JSON with a list of objects (``row_list``).
    """
    try:
        if not path.is_file():
            return None
        found = DATA_SUFFIXES.get(data_suffix(path))
        if found is not None:
            return found
        if path.name.lower().endswith(".json.gz"):
            return "JSON"
        with path.open("rb") as file:
            lines = [file.readline(_MAX_LINE_BYTES) for _ in range(2)]
            file.seek(0)
            start = file.read(_MAX_JSON_BYTES + 1)
    except (OSError, ValueError):  # an unreadable file, or a null byte in the name
        return None
    if all(map(_is_object, lines)):
        return "JSON Lines"
    return "JSON" if path.suffix.lower() == ".json" and _has_rows(start) else None


def row_list(data: Any) -> list[Any] | None:
    """Return the rows in the data of a JSON file, or None if there are none.

    These are a list, or the only list of objects in an object that is not a card.
    """
    if isinstance(data, list):
        return data
    if not isinstance(data, dict) or CARD_KEYS & data.keys():
        return None
    lists = [v for v in data.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
    return lists[0] if len(lists) == 1 else None


def _has_rows(start: bytes) -> bool:
    if len(start) > _MAX_JSON_BYTES:  # no card is that large
        return True
    try:
        rows = row_list(json.loads(start.decode("utf-8-sig")))
    except (ValueError, RecursionError):
        return False
    return bool(rows) and isinstance(rows[0], dict)  # type: ignore[index]


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line.decode("utf-8-sig")), dict)
    except (ValueError, RecursionError):
        return False
