"""Export the answers of a run as JSON Lines or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

from archon.evals.journal import Entry
from archon.evals.records import Record

_NESTED = ("usage", "usage_by_model", "draws")
_BY_NAME = ("other_scores", "explanations", "scorer_errors", "metrics", "metadata")
"""Fields with one column for each name, such as ``metadata.subject``."""
_LISTS = ("targets", "choices")


def json_row(entry: Entry, *, traces: bool = False) -> dict[str, Any]:
    """Return an answer's record as plain data, with its trace if ``traces`` is true.

    The keys of all times contain ``seconds``. The data does not name the run or its folder.
    """
    row = entry.record.to_json()
    return row | {"trace": entry.trace} if traces else row


def json_lines(entries: Iterable[Entry], *, traces: bool = False) -> Iterator[str]:
    """Yield one line of JSON for each answer; see ``json_row``."""
    return (json.dumps(json_row(entry, traces=traces)) + "\n" for entry in entries)


def csv_lines(records: Iterable[Record]) -> Iterator[str]:
    """Yield a header line, and a line for each answer.

    The columns are the fields of the record, with one column for each figure in ``usage``, the
    compute of each model, each further scorer, each metric and each column of the row. Lists are
    JSON. Each node has two columns: its number of samples, and the number of right samples.
    """
    rows = [{name: _cell(value) for name, value in flat_row(record).items()} for record in records]
    names = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names or ["item"], restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        yield _drained(buffer)
        writer.writerow(row)
    yield _drained(buffer)


def flat_row(record: Record) -> dict[str, Any]:
    """Return a record as a row of a table; ``csv_lines`` describes its columns."""
    data = record.to_json()
    nested = (*_NESTED, *_BY_NAME, *_LISTS)
    row: dict[str, Any] = {name: value for name, value in data.items() if name not in nested}
    row |= data["usage"]
    row |= {f"{name}.compute": usage.compute for name, usage in record.usage_by_model.items()}
    row |= {name: json.dumps(data[name], ensure_ascii=False) for name in _LISTS if name in data}
    for name in _BY_NAME:
        row |= {f"{name}.{key}": _plain(value) for key, value in data.get(name, {}).items()}
    for node, draws in record.draws.items():
        row[f"{node}.num_draws"] = len(draws)
        row[f"{node}.num_right"] = sum(draw.is_right for draw in draws)
    return row


def _plain(value: Any) -> Any:
    is_plain = value is None or isinstance(value, str | int | float)
    return value if is_plain else json.dumps(value, ensure_ascii=False)


def _cell(value: Any) -> Any:
    """Escape a text for spreadsheets: prevent formulas, and replace unpaired surrogates."""
    if isinstance(value, str):
        text = value.encode("utf-8", "replace").decode()
        return f"'{text}" if text.startswith(("=", "+", "@", "\t", "\r")) else text
    return value


def _drained(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text
