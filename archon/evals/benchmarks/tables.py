"""Read the rows of data files and of Python objects.

Files are CSV, TSV, JSON, JSON Lines or Parquet, also compressed with gzip. Objects are data frames
of pandas and polars, data sets of ``datasets``, and lists of mappings.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

from archon.errors import SpecError, require
from archon.evals.benchmarks.plain import is_missing, plain, whole_numbers
from archon.spec.data_files import data_format, data_suffix, row_list
from archon.spec.encoding import LONGEST_MARK, encoding_of, open_binary, without_marks
from archon.spec.json_lines import read_rows
from archon.spec.messages import shown
from archon.spec.strict_json import MAX_BYTES, decode_json

MAX_ROWS = 1_000_000
"""Maximum number of rows of a table."""
_MAX_JSON_BYTES = 1 << 30
_DELIMITERS = ",;\t|"
"""Delimiters of CSV files; at a tie, the first one counts. Excel writes semicolons in many
countries."""


class Row(NamedTuple):
    """A row of a table."""

    id: str
    """Its name if no column has ids, such as ``line-7`` or ``row-6``."""
    place: str
    """Its location for error messages, such as file and line."""
    values: Mapping[str, Any]


def read_table(path: Path, *, is_json_lines: bool = False) -> list[Row]:
    """Return the rows of a file, whose name determines its format.

    Parameters
    ----------
    is_json_lines
        Whether the file is JSON Lines regardless of its name.

    Raises
    ------
    SpecError
        The file cannot be read, has another format, or has no rows or more than ``MAX_ROWS``.
    MissingExtraError
        The file is Parquet, and pyarrow is not installed.
    """
    suffix = "" if is_json_lines else data_suffix(path)
    match suffix:
        case ".csv" | ".tsv":
            rows = _csv_rows(path, "\t" if suffix == ".tsv" else None)
        case ".parquet":
            rows = _parquet_rows(path)
        case ".json" if data_format(path) != "JSON Lines":
            rows = _json_rows(path)
        case _:
            rows = (Row(f"line-{n}", f"{path}:{n}", values) for n, values in read_rows(path))
    return _listed(rows, str(path))


def _listed(rows: Iterator[Row], file: str) -> list[Row]:
    listed = list(islice(rows, MAX_ROWS + 1))
    if len(listed) > MAX_ROWS:
        raise SpecError(f"has more than {MAX_ROWS:,} rows; split it into several files", file=file)
    if not listed:
        raise SpecError("the file has no items", file=file)
    return listed


# ------------------------------------------------------------------------------------------- CSV


def _csv_rows(path: Path, delimiter: str | None) -> Iterator[Row]:
    """Yield the rows of a CSV file. Rows with only empty cells are skipped.

    Quoted cells may contain line breaks. An empty cell is None.
    """
    file = str(path)
    csv.field_size_limit(MAX_BYTES)
    with open_binary(path, file) as handle:
        name, codec = encoding_of(handle.peek(LONGEST_MARK))
        text = io.TextIOWrapper(handle, encoding=codec, newline="")
        try:
            yield from _records(text, file, delimiter)
        except UnicodeDecodeError:
            reason = f"is not {name}; save it as UTF-8, in Excel as 'CSV UTF-8'"
            raise SpecError(reason, file=file) from None
        finally:
            text.detach()


def _records(text: io.TextIOWrapper, file: str, delimiter: str | None) -> Iterator[Row]:
    first, skipped = "", 0
    for first in text:
        if without_marks(first).strip():
            break
        skipped += 1
    first = without_marks(first)
    if match := re.fullmatch(r"sep=(.)\s*", first, re.IGNORECASE):  # a line that Excel writes
        delimiter, first, skipped = match[1], text.readline(), skipped + 1
    delimiter = delimiter or max(_DELIMITERS, key=_outside_quotes(first).count)
    # Strict: otherwise a quote that is never closed would swallow all following rows.
    reader = csv.reader(chain([first], text), delimiter=delimiter, strict=True)
    names: list[str] = []
    number = 0
    start = skipped + 1
    try:
        for cells in reader:
            place, start = f"{file}:{start}", skipped + reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if not names:
                names = _header(cells, place)
                continue
            number += 1
            yield Row(f"row-{number}", place, _record(names, cells, place))
    except csv.Error as error:
        reason = f"is not valid CSV: {error}; write a quote inside a quoted cell twice"
        raise SpecError(reason, file=f"{file}:{skipped + max(reader.line_num, 1)}") from None


def _outside_quotes(line: str) -> str:
    return "".join(line.split('"')[::2])


def _header(cells: Sequence[str], place: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    named = [name for name in names if name]
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        raise SpecError(f"two columns have the name {shown(twice)}", file=place)
    return names


def _record(names: Sequence[str], cells: Sequence[str], place: str) -> dict[str, Any]:
    if any(cell.strip() for cell in cells[len(names) :]):
        reason = f"has {len(cells)} cells, but the header has {len(names)} columns"
        raise SpecError(f"{reason}; put cells that contain the delimiter in quotes", file=place)
    padded = [*cells, *[""] * (len(names) - len(cells))]
    # A column without a name is an index that a library wrote.
    return {name: cell or None for name, cell in zip(names, padded, strict=False) if name}


# ------------------------------------------------------------------------------- JSON and Parquet


def _json_rows(path: Path) -> Iterator[Row]:
    file = str(path)
    with open_binary(path, file) as handle:
        content = handle.read(_MAX_JSON_BYTES + 1)
    rows = row_list(decode_json(content, file, max_bytes=_MAX_JSON_BYTES))
    if rows is None:
        reason = "must be a list of objects, or an object with one list of objects"
        raise SpecError(reason, file=file)
    yield from numbered(rows, file)


def _parquet_rows(path: Path) -> Iterator[Row]:
    file = str(path)
    parquet = require("pyarrow.parquet", "evals")
    with open_binary(path, file) as handle:
        content = io.BytesIO(handle.read())
    try:
        table = parquet.ParquetFile(content)
        batches = (batch.to_pylist() for batch in table.iter_batches())
        rows = chain.from_iterable(batches)
        yield from numbered((plain(row) for row in rows), file)
    except (OSError, ValueError) as error:  # pyarrow's errors are of these types
        raise SpecError(f"is not valid Parquet: {str(error).splitlines()[0]}", file=file) from None


def numbered(rows: Iterable[Any], file: str, noun: str = "an object") -> Iterator[Row]:
    """Yield the rows of a table with their numbers, from 1.

    Raises
    ------
    SpecError
        A row is not a mapping.
    """
    for number, values in enumerate(rows, start=1):
        place = f"{file}: row {number}"
        if not isinstance(values, Mapping):
            raise SpecError(f"a row must be {noun}, not {shown(values)}", file=place)
        yield Row(f"row-{number}", place, values)


# -------------------------------------------------------------------------------- Python objects


def is_table(value: object) -> bool:
    """Return whether a Python object is a table: a list of mappings, a data frame or a data set."""
    if isinstance(value, list | tuple):
        return all(isinstance(row, Mapping) for row in value[:1])
    return hasattr(value, "to_dicts") or _is_pandas(value) or hasattr(value, "column_names")


def table_name(value: object) -> str:
    """Return the name of a table's type, such as ``DataFrame``."""
    return "rows" if isinstance(value, list | tuple) else type(value).__name__


def rows_of(value: Any) -> list[Row]:
    """Return the rows of a Python object for which ``is_table`` is true.

    Raises
    ------
    SpecError
        There are no rows, more than ``MAX_ROWS``, or a row is not a mapping.
    """
    name = table_name(value)
    if _is_pandas(value):
        rows = whole_numbers([plain(row) for row in value.to_dict("records")])
    elif hasattr(value, "to_dicts"):
        rows = [plain(row) for row in value.to_dicts()]
    else:
        rows = [
            plain(row) if isinstance(row, Mapping) else row for row in islice(value, MAX_ROWS + 1)
        ]
    listed = list(numbered(rows, name, "a mapping"))
    if len(listed) > MAX_ROWS:
        raise SpecError(f"has more than {MAX_ROWS:,} rows", file=name)
    if not listed:
        raise SpecError("has no rows", file=name)
    return listed


def _is_pandas(value: object) -> bool:
    return hasattr(value, "to_dict") and hasattr(value, "dtypes") and not isinstance(value, Mapping)


def column_names(rows: Iterable[Row]) -> list[str]:
    """Return the names of all columns that have a value in some row, in order."""
    names = dict.fromkeys(
        name for row in rows for name, value in row.values.items() if not is_missing(value)
    )
    return list(names)
