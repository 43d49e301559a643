"""The folder of a run: not overwritten, one writer, one run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from archon.errors import StorageError, UsageError
from archon.evals.folder import RunFolder
from archon.evals.run_spec import IDENTITY
from archon.storage.lock import locked

RUN: dict[str, Any] = {
    "version": 1,
    "specification": {"architecture": {"nodes": {"draft": {"samples": 8}}}, "seed": 0},
    "items": {"split": "select", "count": 2, "digest": "ab"},
    "epochs": 1,
    "start_time": "yesterday",
}


def test_json_files_are_written_completely_and_read_back(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "x")
    folder.write_description(RUN)
    folder.write_report({"accuracy": 0.5})
    folder.write_report({"accuracy": 0.75})
    assert folder.read_description() == RUN
    assert json.loads((tmp_path / "report.json").read_text()) == {"accuracy": 0.75}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "run.json"]


@pytest.mark.parametrize("name", ["run.json", "journal", "report.json"])
def test_a_folder_that_holds_a_run_is_refused_unless_it_is_resumed(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("{}", encoding="utf-8")
    with pytest.raises(UsageError, match=r"already contains a run; .* --resume"):
        RunFolder.create(tmp_path, "x")
    assert RunFolder.resume(tmp_path).holds_run


def test_a_file_instead_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match=f"cannot create the folder {path}"):
            RunFolder.create(path, "x")
    with pytest.raises(UsageError, match="null"):
        RunFolder.create(tmp_path / "a\0b", "x")


def test_by_default_each_run_has_a_new_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = [RunFolder.create(None, "my arch/ü-smoke") for _ in range(3)]
    assert len({folder.path for folder in folders}) == 3
    for folder in folders:
        assert folder.path.is_dir()
        assert re.fullmatch(r"runs/\d{8}-\d{6}-my-arch-smoke(-\d)?", folder.path.as_posix())
    folders[0].write_description(RUN)
    for folder in folders:
        folder.discard_unused()
    assert [folder.path.exists() for folder in folders] == [True, False, False]


def test_a_folder_that_the_user_named_is_not_discarded(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "mine", "x").discard_unused()
    assert (tmp_path / "mine").is_dir()


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}"])
def test_a_folder_without_a_run_cannot_be_read(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises(
        UsageError, match=r"does not contain a run|is damaged|does not describe a run"
    ):
        RunFolder(tmp_path).read_description()


def test_the_description_does_not_depend_on_the_start_time(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "x")
    folder.write_description(RUN)
    folder.check_identity({**RUN, "start_time": "today"}, IDENTITY)


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        (
            {"specification": {"architecture": {"nodes": {"draft": {"samples": 4}}}, "seed": 0}},
            "$.specification.architecture.nodes.draft.samples: 8 stored, 4 now",
        ),
        (
            {"specification": {"architecture": {"nodes": {"other": {}}}, "seed": 1}},
            "$.specification.seed: 0 stored, 1 now",
        ),
        ({"epochs": 2}, "$.epochs: 1 stored, 2 now"),
        (
            {"items": {"split": "test", "count": 2, "digest": "cd"}},
            "$.items.split: 'select' stored, 'test' now",
        ),
    ],
)
def test_another_run_is_refused_with_the_difference(
    tmp_path: Path, changed: dict[str, Any], difference: str
) -> None:
    folder = RunFolder.create(tmp_path, "x")
    folder.write_description(RUN)
    with pytest.raises(UsageError) as refused:
        folder.check_identity({**RUN, **changed}, IDENTITY)
    assert difference in str(refused.value)
    assert "start_time" not in str(refused.value)


def test_one_process_writes_at_a_time_and_a_dead_one_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from archon.storage.lock import locked\n"
        f"with locked(Path({str(tmp_path)!r}), 'run'): print('here', flush=True); "
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with (
            pytest.raises(UsageError, match="another process is writing the run"),
            locked(tmp_path, "run"),
        ):
            pass
        other.kill()
        other.wait()
    with locked(tmp_path, "run"):
        pass


def test_a_full_disk_is_a_clear_error_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    (tmp_path / "report.json.part").symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"cannot write .*report.json: No space left"):
        RunFolder(tmp_path).write_report({"accuracy": 1})
    assert not list(tmp_path.iterdir())
