"""JSON Lines: a file of strict JSON objects, one a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archon.errors import SpecError
from archon.spec.messages import shown
from archon.spec.strict_json import MAX_BYTES, decode_json


def read_rows(path: Path, file: str | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file with the numbers of their lines, from 1; blank lines are skipped.

    ``file`` is the file's name in errors, by default the path.

    Raises
    ------
    SpecError : the file cannot be read, or a line is not one strict JSON object.
    """
    file = str(path) if file is None else file
    try:
        with path.open("rb") as handle:
            number = 0
            while line := handle.readline(MAX_BYTES + 1):
                number += 1
                if line.strip():
                    yield number, _row(line, f"{file}:{number}")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError(f"cannot be read: {reason}", file=file) from None


def _row(line: bytes, place: str) -> dict[str, Any]:
    try:
        row = decode_json(line.strip())
    except SpecError as error:
        # The decoder takes the line for a whole file.
        reason = error.reason.replace("line 1 column", "column").replace("the file", "the line")
        raise SpecError(reason, file=place, path=error.path) from None
    if not isinstance(row, dict):
        raise SpecError(
            f"holds {shown(row)}; JSON Lines has one object like {{…}} on each line", file=place
        )
    return row
