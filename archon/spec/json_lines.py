"""Read JSON Lines files, which contain one strict JSON object per line."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archon.errors import SpecError
from archon.spec.encoding import LONGEST_MARK, encoding_of, open_binary
from archon.spec.messages import shown
from archon.spec.strict_json import MAX_BYTES, decode_json


def read_rows(path: Path, file: str | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) for every line that is not blank. Line numbers start at 1.

    A file whose name ends in ``.gz`` is decompressed.

    A line may begin with a byte-order mark, as in concatenated files.

    Parameters
    ----------
    file
        Name of the file in error messages; by default, its path.

    Raises
    ------
    SpecError
        The file cannot be read, or a line is not one strict JSON object.
    """
    file = str(path) if file is None else file
    number = 0
    with open_binary(path, file) as handle:
        try:
            for number, line in enumerate(_lines(handle), start=1):
                row = _row(line, f"{file}:{number}")
                if row is not None:
                    yield number, row
        except UnicodeDecodeError as error:
            reason = f"is not {error.encoding.upper()}; save the file as UTF-8"
            raise SpecError(reason, file=f"{file}:{number + 1}") from None


def _lines(handle: io.BufferedReader) -> Iterator[bytes]:
    """Yield the lines, encoded as UTF-8. A line that is too long is truncated at the limit."""
    name, codec = encoding_of(handle.peek(LONGEST_MARK))
    if name == "UTF-8":
        while line := handle.readline(MAX_BYTES + 1):
            yield line
        return
    text = io.TextIOWrapper(handle, encoding=codec, newline="\n")
    try:
        while characters := text.readline(MAX_BYTES + 1):
            yield characters.encode("utf-8")
    finally:
        text.detach()


def _row(line: bytes, place: str) -> dict[str, Any] | None:
    """Return the object on a line, or None if the line is blank."""
    name, _ = encoding_of(line)
    if name != "UTF-8":
        reason = f"is {name}, unlike the beginning of the file; save the complete file as UTF-8"
        raise SpecError(reason, file=place)
    line = line.strip().removeprefix(codecs.BOM_UTF8).strip()
    if not line:
        return None
    try:
        row = decode_json(line)
    except SpecError as error:
        # ``decode_json`` words its errors for a complete file.
        reason = error.reason.replace("line 1 column", "column").replace("the file", "the line")
        raise SpecError(reason, file=place, path=error.path) from None
    if not isinstance(row, dict):
        reason = f"is {shown(row)}; every line of a JSON Lines file must be an object {{…}}"
        raise SpecError(reason, file=place)
    return row
