"""Detect data files that a user passes instead of a card or an architecture."""

from __future__ import annotations

import json
from pathlib import Path

DATA_SUFFIXES = {
    ".jsonl": "JSON Lines",
    ".ndjson": "JSON Lines",
    ".csv": "CSV",
    ".tsv": "TSV",
    ".parquet": "Parquet",
}
"""File-name suffix → name of the data format."""
_MAX_LINE_BYTES = 1 << 20


def data_format(path: Path) -> str | None:
    """Return a data file's format, or None if the file is not a data file or does not exist.

    A data file has one of ``DATA_SUFFIXES``, or its first two lines are complete JSON objects. A
    card is a single object, so it never has two.
    """
    try:
        if not path.is_file():
            return None
        found = DATA_SUFFIXES.get(path.suffix.lower())
        if found is not None:
            return found
        with path.open("rb") as file:
            lines = [file.readline(_MAX_LINE_BYTES) for _ in range(2)]
    except (OSError, ValueError):  # an unreadable file, or a null byte in the name
        return None
    return "JSON Lines" if all(map(_is_object, lines)) else None


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line.decode("utf-8-sig")), dict)
    except (ValueError, RecursionError):
        return False
