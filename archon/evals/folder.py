"""The folder of a run, which holds everything that is known of it.

::

    run.json        what was asked for, of which architecture and benchmark, on which machine
    records.jsonl   one line an answer, written the moment that it is finished
    traces.jsonl    one line an answer that did not fail: every prompt and completion behind it
    report.json     the result, also of a run that was interrupted
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from archon.errors import SpecError, UsageError
from archon.spec.messages import shown
from archon.types import Usage

RUN, RECORDS, TRACES, REPORT = "run.json", "records.jsonl", "traces.jsonl", "report.json"


VERSION = 1
"""Of the form of records."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One text that a node wrote, on its own: what it would have scored as the answer."""

    value: str | None
    score: int


@dataclass(frozen=True, slots=True)
class Record:
    """What came of one item in one epoch."""

    item: str
    epoch: int
    question: str
    target: str
    text: str | None
    """The answer as the architecture gave it; None if it failed."""
    value: str | None
    score: int
    explanation: str
    cost_tokens: int
    usage: Usage
    seconds: float
    error: str | None
    """Why there is no answer; None if there is one."""
    draws: Mapping[str, tuple[Draw, ...]] = field(default_factory=dict)
    """Node → its texts in the order of their draws, for every node that writes candidates."""
    version: int = VERSION


class RunFolder:
    """A run's folder while the run goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path | None, name: str) -> RunFolder:
        """Make the folder of a new run.

        Parameters
        ----------
        path : the folder itself; None makes a new one in ``runs``, named by the time and ``name``.

        Raises
        ------
        UsageError : the folder holds a run already, or cannot be made.
        """
        try:
            if path is None:
                return cls(_new_folder(Path("runs"), name))
            path.mkdir(parents=True, exist_ok=True)
            there = [file for file in (RUN, RECORDS, REPORT) if (path / file).exists()]
        except (OSError, ValueError) as error:
            where = path or Path("runs").absolute()
            raise UsageError(f"cannot make the folder {where}: {_reason(error)}") from None
        if there:
            raise UsageError(f"{path} holds a run already ({there[0]}); choose another folder")
        return cls(path)

    def write_run(self, data: Mapping[str, Any]) -> None:
        """Write down what was asked for."""
        _write_json(self.path / RUN, data)

    def write_report(self, data: Mapping[str, Any]) -> None:
        """Write the result."""
        _write_json(self.path / REPORT, data)

    def writer(self) -> RecordWriter:
        """The writer of the run's records."""
        return RecordWriter(self.path)


class RecordWriter:
    """Appends finished answers, each at once, so that a run that is killed keeps them.

    Raises
    ------
    UsageError : a file cannot be written, because the disk is full for instance.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records = self._open(RECORDS)
        self._traces = self._open(TRACES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in (self._records, self._traces):
            file.close()

    def append(self, record: Record, trace: Mapping[str, Any] | None) -> None:
        """Write an answer; the trace first, so that every record without an error has one."""
        if trace is not None:
            line = {"item": record.item, "epoch": record.epoch, "trace": trace}
            self._write(self._traces, line)
        self._write(self._records, asdict(record))

    def _open(self, name: str) -> FileIO:
        try:
            return (self._path / name).open("ab", buffering=0)
        except OSError as error:
            raise UsageError(f"cannot write {self._path / name}: {_reason(error)}") from None

    def _write(self, file: FileIO, data: Mapping[str, Any]) -> None:
        line = json.dumps(data).encode() + b"\n"
        try:
            written = file.write(line)
        except OSError as error:
            raise UsageError(f"cannot write {file.name!s}: {_reason(error)}") from None
        if written != len(line):
            raise UsageError(f"cannot write {file.name!s}: the disk is full")


# ------------------------------------------------------------------------------ reading it again


def read_run(path: Path) -> dict[str, Any]:
    """What was asked for in a run.

    Raises
    ------
    UsageError : the folder holds no run.
    """
    return _read_json(path, RUN)


def read_report(path: Path) -> dict[str, Any]:
    """The result of a run.

    Raises
    ------
    UsageError : the folder holds no report.
    """
    return _read_json(path, REPORT)


def read_records(path: Path) -> Iterator[Record]:
    """The records of a run in the order in which they were finished.

    A last line without its end, left by a run that was killed while it wrote, is left out.

    Raises
    ------
    UsageError : the folder holds no records.
    SpecError : a line is no record.
    """
    file = path / RECORDS
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.endswith("\n"):
                    yield _record(line, f"{file}:{number}")
    except OSError as error:
        raise UsageError(f"{path} holds no records of a run: {_reason(error)}") from None


def _record(line: str, place: str) -> Record:
    try:
        data = json.loads(line)
        draws = {
            node: tuple(Draw(**draw) for draw in written) for node, written in data["draws"].items()
        }
        return Record(**{**data, "usage": Usage(**data["usage"]), "draws": draws})
    except (ValueError, TypeError, KeyError, AttributeError):
        raise SpecError(f"{shown(line.strip())} is no record of an answer", file=place) from None


def _read_json(path: Path, name: str) -> dict[str, Any]:
    try:
        data = json.loads((path / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} holds no readable {name}: {_reason(error)}") from None
    if not isinstance(data, dict):
        raise UsageError(f"{path / name} is not a JSON object")
    return data


# ------------------------------------------------------------------------------------- the disk


def _new_folder(root: Path, name: str) -> Path:
    """A new folder named by the time in UTC and, made fit for any file system, ``name``."""
    root.mkdir(parents=True, exist_ok=True)
    safe = re.sub(r"[^A-Za-z0-9._]+", "-", name)[:100].strip("-.")
    stem = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{safe}"
    number = 1
    while True:
        path = root / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
        else:
            return path


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    code = getattr(error, "errno", None)
    return os.strerror(code) if code else str(error)
