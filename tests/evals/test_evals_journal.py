"""The journal: written entries stay, and only incomplete or damaged ones are skipped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from eval_doubles import make_record
from hypothesis import given
from hypothesis import strategies as st

from archon.errors import StorageError
from archon.evals.journal import JournalWriter, decode, encode, read_entries
from archon.evals.records import Draw, Record

RECORDS = [
    make_record("a", 1),
    make_record("b", 0, epoch=2, error="LMError: tab\t, line\n, half \ud800"),
    make_record("c", 1),
]
LINES = [encode(1, 0.5 * n, record, {"said": n}) for n, record in enumerate(RECORDS)]


def write(path: Path, lines: list[bytes]) -> None:
    writer = JournalWriter(path)
    written = [writer.append(line) for line in lines]
    writer.close()
    for future in written:
        future.result()


def items(path: Path) -> list[str]:
    return [entry.record.item for entry in read_entries(path)]


def test_entries_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    write(tmp_path / "journal", LINES)
    entries = list(read_entries(tmp_path / "journal"))
    assert [entry.record for entry in entries] == RECORDS
    assert [(e.session, e.session_seconds, e.trace) for e in entries] == [
        (1, 0.0, {"said": 0}),
        (1, 0.5, {"said": 1}),
        (1, 1.0, {"said": 2}),
    ]


def test_the_samples_of_nodes_are_recorded() -> None:
    record = make_record("a", 1)
    draws = {"draft": (Draw("4", 1), Draw(None, 0))}
    record = Record.from_json({**record.to_json(), "draws": {}})
    record = Record(**{**{f: getattr(record, f) for f in record.__slots__}, "draws": draws})
    entry = decode(encode(1, 0.0, record, None))
    assert entry is not None
    assert entry.record.draws == draws
    assert entry.trace is None


def test_an_entry_is_on_disk_when_its_future_is_done(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal")
    for number, line in enumerate(LINES, start=1):
        writer.append(line).result(timeout=60)
        assert len(items(tmp_path / "journal")) == number
    writer.close()


def test_an_end_cut_at_any_byte_keeps_complete_entries_and_writing_continues(
    tmp_path: Path,
) -> None:
    whole = b"".join(LINES)
    ends = [len(b"".join(LINES[:count])) for count in range(len(LINES) + 1)]
    path = tmp_path / "journal"
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        expected = [r.item for r, end in zip(RECORDS, ends[1:], strict=True) if end <= cut]
        assert items(path) == expected
        write(path, [encode(2, 1.0, make_record("new", 1), None)])
        assert items(path) == [*expected, "new"]


@given(st.integers(0, len(b"".join(LINES)) - 1), st.integers(1, 255))
def test_a_damaged_byte_invalidates_only_its_entry(position: int, change: int) -> None:
    damaged = bytearray(b"".join(LINES))
    damaged[position] ^= change
    found = [entry for line in damaged.splitlines(keepends=True) if (entry := decode(line))]
    kept = {entry.record.item for entry in found}
    start = 0
    for line, record in zip(LINES, RECORDS, strict=True):
        is_hit = start <= position < start + len(line)
        # A line whose end is damaged takes the next one with it.
        is_behind = start > 0 and position == start - 1
        assert (record.item in kept) == (not is_hit and not is_behind)
        start += len(line)
    assert all(entry.record in RECORDS for entry in found)


def test_zeros_from_a_power_failure_are_not_an_entry(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(LINES[0] + bytes(4096) + b"\n" + LINES[2])
    assert items(path) == ["a", "c"]
    path.write_bytes(LINES[0] + bytes(1 << 17))
    write(path, [LINES[1]])
    assert path.read_bytes() == LINES[0] + LINES[1]


def test_a_duplicate_identity_counts_once(tmp_path: Path) -> None:
    write(tmp_path / "journal", [LINES[0], encode(2, 0.0, make_record("a", 0), None)])
    (entry,) = read_entries(tmp_path / "journal")
    assert (entry.session, entry.record.score) == (1, 1)


def test_a_new_entry_replaces_only_a_failure(tmp_path: Path) -> None:
    failed = make_record("a", 0, error="LMError: first")
    later = make_record("a", 0, error="LMError: second")
    lines = [encode(1, 0.0, failed, None), LINES[2], encode(2, 0.0, later, None)]
    write(tmp_path / "journal", lines)
    assert [e.record.error for e in read_entries(tmp_path / "journal")] == [None, "LMError: second"]
    write(tmp_path / "journal", [encode(3, 0.0, make_record("a", 1), None)])
    write(tmp_path / "journal", [encode(4, 0.0, later, None)])
    found = {e.record.item: (e.session, e.record.error) for e in read_entries(tmp_path / "journal")}
    assert found == {"a": (3, None), "c": (1, None)}


def test_a_record_of_another_version_is_named() -> None:
    data: dict[str, Any] = {**RECORDS[0].to_json(), "version": 99}
    with pytest.raises(ValueError, match="unknown version of records: 99"):
        Record.from_json(data)
    with pytest.raises(ValueError, match="not a record of an answer"):
        Record.from_json(json.loads('{"version": 1}'))


@pytest.mark.parametrize("score", [-1, 2, "53"])
def test_a_score_that_is_none_is_refused(score: object) -> None:
    with pytest.raises(ValueError, match=r"\$\.score"):
        Record.from_json({**RECORDS[0].to_json(), "score": score})


def test_a_journal_that_cannot_be_opened_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*journal: Is a directory"):
        JournalWriter(tmp_path / "journal")
    with pytest.raises(StorageError, match=r"cannot read .*: Is a directory"):
        items(tmp_path / "journal")


def test_a_full_disk_leaves_complete_entries_and_later_writes_continue(tmp_path: Path) -> None:
    """Simulate a full disk with the limit of a process on the size of files."""
    program = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from archon.errors import StorageError
from archon.evals.journal import JournalWriter
from test_evals_journal import LINES, items

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path({str(tmp_path / "journal")!r})
room = len(LINES[0]) + len(LINES[1]) // 2
resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
writer = JournalWriter(path)
writer.append(LINES[0]).result()
try:
    writer.append(LINES[1]).result()
except StorageError as error:
    print(error)
assert items(path) == ["a"] and path.stat().st_size == len(LINES[0])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.append(LINES[2]).result()
writer.close()
assert items(path) == ["a", "c"]
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"cannot write {tmp_path / 'journal'}: File too large\n"
