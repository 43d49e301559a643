"""The journal of a run: a file of finished answers, from which an interrupted run can be resumed.

One line per entry::

    LENGTH CRC32 STAMP⇥RECORD⇥TRACE

LENGTH is the number of bytes after the second space, and CRC32 is their checksum in eight hex
digits. The three parts are JSON, in which tabs and line ends are escaped. STAMP contains the number
of the session that finished the answer, and the time since that session started. TRACE contains
every prompt and completion of the answer; it is ``null`` for a failure. Readers skip a line that is
incomplete or does not match its checksum. If a failed item is asked again, its new entry replaces
the old one.

Only one process writes, from one thread. Each write is flushed to the disk (fsync); entries that
arrive during a flush are written together by the next one.
"""

from __future__ import annotations

import json
import os
import queue
import threading
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archon.errors import StorageError, os_reason
from archon.evals.records import Record
from archon.storage.atomic import sync_folder


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a journal: the record of a finished or failed answer, and its trace."""

    session: int
    """Number of the session, from 1. A run that was resumed has several sessions."""
    session_seconds: float
    """Time from the start of the session until the answer was finished."""
    record: Record
    trace_json: bytes
    session_joules: float | None = None
    """Energy that the machine used from the start of the session until then; None if unknown."""

    @property
    def trace(self) -> Mapping[str, Any] | None:
        """Every prompt and completion of the answer (``Trace.to_json``); None if it failed.

        Raises
        ------
        StorageError
            The trace is invalid, although the line has a valid checksum.
        """
        try:
            trace = json.loads(self.trace_json)
        except (ValueError, RecursionError) as error:
            reason = f"the trace of item {self.record.item!r} is not valid JSON: {error}"
            raise StorageError(reason) from None
        if not isinstance(trace, dict | None):
            raise StorageError(f"the trace of item {self.record.item!r} is not a JSON object")
        return trace


def encode(
    session: int,
    session_seconds: float,
    record: Record,
    trace: Mapping[str, Any] | None,
    session_joules: float | None = None,
) -> bytes:
    """Return the journal line of an entry."""
    stamp = {"sitting": session, "sitting_seconds": round(session_seconds, 3)}
    if session_joules is not None:
        stamp["sitting_joules"] = round(session_joules, 3)
    payload = b"\t".join(json.dumps(part).encode() for part in (stamp, record.to_json(), trace))
    return b"%d %08x %b\n" % (len(payload), zlib.crc32(payload), payload)


def decode(line: bytes) -> Entry | None:
    """Return the entry in a journal line; None if the line is incomplete or damaged.

    Raises
    ------
    ValueError
        The line has a valid checksum, but an unknown version or format.
    """
    length, _, rest = line.partition(b" ")
    checksum, _, payload = rest.partition(b" ")
    if not payload.endswith(b"\n"):
        return None
    payload = payload[:-1]
    if length != b"%d" % len(payload) or checksum != b"%08x" % zlib.crc32(payload):
        return None
    stamp_json, record_json, trace_json = payload.split(b"\t")
    try:
        stamp = json.loads(stamp_json)
        session, seconds = int(stamp["sitting"]), float(stamp["sitting_seconds"])
        joules = None if "sitting_joules" not in stamp else float(stamp["sitting_joules"])
        record = Record.from_json(json.loads(record_json))
    except (TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError(f"not an entry of a journal: {error}") from None
    return Entry(session, seconds, record, trace_json, joules)


def read_entries(path: Path) -> Iterator[Entry]:
    """Yield the entries of a journal in the order in which they were written.

    A resumed run retries failed items, and the earlier failures are kept in the file. If there are
    several entries for one item and epoch, only the first one that did not fail is yielded; if all
    failed, the last is yielded. Incomplete and damaged lines are skipped; ``evaluate`` asks their
    items again.

    Raises
    ------
    StorageError
        The file cannot be read.
    ValueError
        An entry has an unknown version.
    """
    counting: dict[tuple[str, str, int], int] = {}
    answered: set[tuple[str, str, int]] = set()
    for line, entry in _numbered_entries(path):
        identity = entry.record.identity
        if identity not in answered:
            counting[identity] = line
            if entry.record.error is None:
                answered.add(identity)
    for line, entry in _numbered_entries(path):
        if counting.get(entry.record.identity) == line:
            yield entry


def _numbered_entries(path: Path) -> Iterator[tuple[int, Entry]]:
    """Yield (line number, entry) for every valid line; only one line is in memory at a time."""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines):
                entry = decode(line)
                if entry is not None:
                    yield number, entry
    except OSError as error:
        raise StorageError(f"cannot read {path}: {os_reason(error)}") from None


class JournalWriter:
    """Appends entries to a journal in a background thread.

    If an earlier session left an incomplete last line, it is removed first.

    Raises
    ------
    StorageError
        The file cannot be opened. If a later write fails, for example because the disk is full, the
        future that ``append`` returned raises this error, and no part of the entry is left in the
        file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._end = _end_of_last_line(self._file)
            os.ftruncate(self._file, self._end)
            os.lseek(self._file, self._end, os.SEEK_SET)
            sync_folder(path.parent)
        except OSError as error:
            raise self._error(error) from None
        self._lines: queue.SimpleQueue[tuple[bytes, Future[None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def append(self, line: bytes) -> Future[None]:
        """Write a line made by ``encode``; the future is done when it is flushed to disk."""
        written: Future[None] = Future()
        # A running future cannot be cancelled by its waiter.
        written.set_running_or_notify_cancel()
        self._lines.put((line, written))
        return written

    def close(self) -> None:
        """Wait until all lines are written or have failed, and close the file."""
        self._lines.put(None)
        self._thread.join()
        os.close(self._file)

    def _work(self) -> None:
        entry = self._lines.get()
        while entry is not None:
            batch = [entry]
            while not self._lines.empty() and (entry := self._lines.get()) is not None:
                batch.append(entry)
            self._write_batch(batch)
            if entry is not None:
                entry = self._lines.get()

    def _write_batch(self, batch: list[tuple[bytes, Future[None]]]) -> None:
        try:
            self._write(b"".join(line for line, _ in batch))
        except OSError as error:
            for _, written in batch:
                written.set_exception(self._error(error))
        else:
            for _, written in batch:
                written.set_result(None)

    def _write(self, lines: bytes) -> None:
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._end)
            os.lseek(self._file, self._end, os.SEEK_SET)
            raise
        self._end += len(lines)

    def _error(self, error: OSError) -> StorageError:
        return StorageError(f"cannot write {self._path}: {os_reason(error)}")


_BLOCK = 1 << 16


def _end_of_last_line(file: int) -> int:
    """Return the position just after a file's last newline; 0 if there is none."""
    end = os.lseek(file, 0, os.SEEK_END)
    while end > 0:
        start = max(0, end - _BLOCK)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
