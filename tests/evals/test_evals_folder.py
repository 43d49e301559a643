"""The folder of a run: never overwritten, never losing what is finished."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from eval_doubles import make_record

from archon.errors import SpecError, UsageError
from archon.evals.folder import RunFolder, read_records, read_report, read_run


def test_records_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    records = [make_record("a", 1), make_record("b", 0, epoch=2, error="LMError: gone")]
    folder = RunFolder.create(tmp_path / "run", "x")
    with folder.writer() as writer:
        for record in records:
            writer.append(record, None)
    assert list(read_records(folder.path)) == records


def test_a_record_is_on_disk_with_its_trace_before_the_next_one(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "x")
    with folder.writer() as writer:
        writer.append(make_record("a", 1), {"nodes": ["\ud800"]})
        assert [record.item for record in read_records(tmp_path)] == ["a"]
        line = json.loads((tmp_path / "traces.jsonl").read_text(encoding="utf-8"))
        assert line == {"item": "a", "epoch": 0, "trace": {"nodes": ["\ud800"]}}


def test_records_name_neither_run_nor_folder(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path / "secret", "x").writer() as writer:
        writer.append(make_record("a", 1), {})
    assert "secret" not in (tmp_path / "secret" / "records.jsonl").read_text(encoding="utf-8")


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, "x").writer() as writer:
        writer.append(make_record("a", 1), None)
    with (tmp_path / "records.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"item": "b", "epo')
    assert [record.item for record in read_records(tmp_path)] == ["a"]


def test_a_line_that_is_no_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text('{"item": "b"}\n', encoding="utf-8")
    with pytest.raises(SpecError, match=r"records\.jsonl:1: .* is no record"):
        list(read_records(tmp_path))


def test_json_files_are_written_whole_and_read_back(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "x")
    folder.write_run({"seed": 1})
    folder.write_report({"accuracy": 0.5})
    folder.write_report({"accuracy": 0.75})
    assert read_run(tmp_path) == {"seed": 1}
    assert read_report(tmp_path) == {"accuracy": 0.75}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "run.json"]


@pytest.mark.parametrize("name", ["run.json", "records.jsonl", "report.json"])
def test_a_folder_that_holds_a_run_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}", encoding="utf-8")
    with pytest.raises(UsageError, match="holds a run already"):
        RunFolder.create(tmp_path, "x")


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match=f"cannot make the folder {path}"):
            RunFolder.create(path, "x")


def test_by_default_each_run_has_a_new_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [RunFolder.create(None, "my arch/ü-smoke").path for _ in range(3)]
    assert len(set(paths)) == 3
    for path in paths:
        assert path.is_dir()
        assert re.fullmatch(r"runs/\d{8}-\d{6}-my-arch-smoke(-\d)?", path.as_posix())


def test_a_folder_without_a_run_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no readable run\.json"):
        read_run(tmp_path)
    with pytest.raises(UsageError, match="holds no records"):
        list(read_records(tmp_path))
    (tmp_path / "report.json").write_text("[]", encoding="utf-8")
    with pytest.raises(UsageError, match="not a JSON object"):
        read_report(tmp_path)


def test_a_full_disk_is_a_clear_error(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full")
    (tmp_path / "traces.jsonl").symlink_to(full)
    with (
        RunFolder(tmp_path).writer() as writer,
        pytest.raises(UsageError, match=r"cannot write .*: No space left"),
    ):
        writer.append(make_record("a", 1), {})
    assert not list(read_records(tmp_path))
