"""The user's own data as a benchmark: a file, a data set on the hub, or a Python object.

A card is made for it: its columns are found (``columns.py``), and the kind of answer and the scorer
follow from them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archon.errors import SpecError
from archon.evals.benchmarks.columns import Columns, Found, find_columns
from archon.evals.benchmarks.tables import Row, is_table, read_table, rows_of, table_name
from archon.evals.scorers import default_scorer
from archon.spec.benchmark import BenchmarkCard, PythonCard
from archon.spec.data_files import DATA_SUFFIXES, data_format, data_suffix
from archon.spec.messages import shown
from archon.spec.validation import parse

HUB_PREFIX = "hf:"
_HUB = re.compile(
    r"hf:(?P<repo>[^/\s:@]+/[^/\s:@]+)(?:/(?P<config>[^\s:@]+))?(?:@(?P<revision>[^\s:]+))?"
    r"(?::(?P<split>[^\s:]+))?"
)
_FORM = "hf:owner/name[/config][@revision][:split]"
_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
_TRAINING = ("train", "training", "auxiliary_train")
_VALIDATION = ("validation", "val", "valid", "dev")
_TEST = ("test",)


@dataclass(frozen=True)
class OwnData:
    """Own data, with the card that was made for it."""

    spec: BenchmarkCard | PythonCard
    file: str
    """Name of the data in error messages."""
    base_dir: Path
    path: Path | None
    """The data's file; None for other data."""
    rows: list[Row] | None
    """The rows; None if they are loaded from the hub."""
    note: str
    """One line on the columns that were found."""


def is_own_data(ref: object) -> bool:
    """Return whether a benchmark reference is data: a file, a hub string or a Python table."""
    if isinstance(ref, str | os.PathLike):
        text, path = os.fspath(ref), Path(ref).expanduser()
        suffix = data_suffix(path)
        is_named_data = suffix in DATA_SUFFIXES or suffix in _SPREADSHEETS
        return text.startswith(HUB_PREFIX) or is_named_data or data_format(path) is not None
    if isinstance(ref, Mapping):  # the splits of a data set; any other mapping is a card
        return bool(ref) and all(hasattr(value, "column_names") for value in ref.values())
    return is_table(ref)


def load_own_data(ref: Any, columns: Columns) -> OwnData:
    """Find the columns of own data, and make a card for it.

    Raises
    ------
    SpecError
        The data cannot be read, or its columns are not recognized.
    MissingExtraError
        The data needs a package that is not installed.
    """
    if isinstance(ref, Mapping):
        return _of_splits(ref, columns)
    if not isinstance(ref, str | os.PathLike):
        return _of_table(ref, rows_of(ref), columns)
    if os.fspath(ref).startswith(HUB_PREFIX):
        return _of_hub(os.fspath(ref), columns)
    path = Path(ref).expanduser()
    if data_suffix(path) in _SPREADSHEETS:
        raise SpecError("is a spreadsheet; save it as 'CSV UTF-8'", file=str(path))
    rows = read_table(path)
    found = find_columns(rows, columns, str(path))
    # The name without its folder: a run can be resumed from elsewhere, and the items are compared.
    card = _card(path.name.partition(".")[0] or path.name, {"file": path.name}, found, str(path))
    return OwnData(card, str(path), path.absolute().parent, path, rows, found.note)


def _card(name: str, source: dict[str, Any], found: Found, file: str) -> BenchmarkCard:
    return parse(BenchmarkCard, _card_data(name, source, found), file)


def _card_data(name: str, source: dict[str, Any], found: Found) -> dict[str, Any]:
    return {
        "version": 1,
        "name": name,
        "source": source,
        "fields": found.fields.model_dump(),
        "answer_after": found.answer_after,
        "answer": found.answer,
        "score": default_scorer(found.answer),
    }


def _of_table(table: Any, rows: list[Row], columns: Columns) -> OwnData:
    name = table_name(table)
    found = find_columns(rows, columns, name)
    card = parse(PythonCard, _card_data(name, {"python": name}, found), name)
    return OwnData(card, name, Path.cwd(), None, rows, found.note)


def _of_splits(splits: Mapping[str, Any], columns: Columns) -> OwnData:
    raise SpecError(
        f"has the splits {', '.join(map(shown, splits))}; pass one of them, such as "
        f"data[{next(iter(splits))!r}]",
        file=table_name(splits),
    )


def _of_hub(text: str, columns: Columns) -> OwnData:
    from archon.evals.benchmarks import huggingface

    match = _HUB.fullmatch(text)
    if match is None:
        raise SpecError(f"is not of the form {_FORM}", file=text)
    repo, config, revision = match["repo"], match["config"], match["revision"] or "main"
    data = huggingface.fetch(repo, config, revision)
    splits = _hub_splits(list(data), match["split"])
    source = {
        "huggingface": {"repo": repo, "config": config, "revision": revision, "splits": splits}
    }
    name = repo.rpartition("/")[2] + (f"-{config}" if config else "")
    unread = BenchmarkCard.model_validate({"version": 1, "name": name, "source": source})
    assert unread.source.huggingface is not None
    rows = huggingface.first_rows(unread.source.huggingface, "test")
    found = find_columns(rows, columns, text)
    card = _card(name, source, found, text)
    if len(set(splits.values())) == 1:  # a table, which is divided like a file
        return OwnData(card, text, Path.cwd(), None, rows, found.note)
    note = f"{found.note}; {', '.join(f'{ours} from {splits[ours]!r}' for ours in splits)}"
    return OwnData(card, text, Path.cwd(), None, None, note)


def _hub_splits(names: Sequence[str], chosen: str | None) -> dict[str, str]:
    """Return benchmark split → hub split, by the names of the hub's splits."""
    if chosen is not None:
        return dict.fromkeys(("search", "select", "test"), chosen)

    def first(*groups: Sequence[str]) -> str | None:
        return next((name for group in groups for name in group if name in names), None)

    test = first(_TEST, _VALIDATION) or names[0]
    search = first(_TRAINING, _VALIDATION) or test
    select = first(_VALIDATION)
    if select is None or select == test:
        select = search
    return {"search": search, "select": select, "test": test}
