"""Files of data that are given where a card or an architecture is wanted."""

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
"""Suffix → format."""
_MAX_LINE_BYTES = 1 << 20


def data_format(path: Path) -> str | None:
    """The format of a file of data; None for any other file, and where there is none.

    It is told by the suffix, or by a first line that is a whole JSON object with another one after
    it, whatever the suffix: a card is one object.
    """
    try:
        if not path.is_file():
            return None
        found = DATA_SUFFIXES.get(path.suffix.lower())
        if found is not None:
            return found
        with path.open("rb") as file:
            lines = [file.readline(_MAX_LINE_BYTES) for _ in range(2)]
    except (OSError, ValueError):  # not ours to read, or a null byte in the name
        return None
    return "JSON Lines" if all(map(_is_object, lines)) else None


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line.decode("utf-8-sig")), dict)
    except (ValueError, RecursionError):
        return False
