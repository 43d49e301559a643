"""What every atomic write and every folder of a run must keep."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from archon.errors import ArchonError, UsageError
from archon.evals.folder import RunFolder
from archon.pages.document import write_document
from archon.storage.atomic import replacing, write_json
from archon.storage.lock import LOCK, locked
from archon.storage.run_folder import BaseRunFolder
from archon.weights.digest import write_verified


def verified(path: Path, text: str) -> None:
    content = text.encode()
    sha256 = hashlib.sha256(content).hexdigest()
    write_verified([content], path, sha256, lambda _: None, len(content))


def replaced(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def replaced_by_one_of_several(path: Path, text: str) -> None:
    with replacing(path, concurrent=True) as part:
        assert str(os.getpid()) in part.name
        part.write_text(text, encoding="utf-8")


WRITERS: dict[str, Callable[[Path, str], None]] = {
    "replacing": replaced,
    "replacing, concurrent": replaced_by_one_of_several,
    "write_json": write_json,
    "write_document": write_document,
    "write_verified": verified,
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
class TestAtomicWrites:
    """Run over everything that writes a file."""

    def test_the_new_content_replaces_the_old_and_nothing_else_stays(
        self, write: Callable[[Path, str], None], tmp_path: Path
    ) -> None:
        path = tmp_path / "file"
        for text in ("first", "second"):
            write(path, text)
            assert text in path.read_text(encoding="utf-8")
        assert [entry.name for entry in tmp_path.iterdir()] == ["file"]

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_a_disk_that_fails_leaves_the_old_content(
        self,
        write: Callable[[Path, str], None],
        step: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        path = tmp_path / "file"
        write(path, "first")

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), fail)
        with pytest.raises((OSError, ArchonError), match="No space left"):
            write(path, "second")
        assert "first" in path.read_text(encoding="utf-8")
        assert [entry.name for entry in tmp_path.iterdir()] == ["file"]

    def test_the_file_is_on_the_disk_before_it_has_its_name_and_the_folder_after(
        self,
        write: Callable[[Path, str], None],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        steps: list[str] = []
        fsync, rename = os.fsync, Path.replace

        def note_fsync(file: int) -> None:
            is_folder = stat.S_ISDIR(os.fstat(file).st_mode)
            steps.append("folder" if is_folder else "file")
            fsync(file)

        def note_rename(self: Path, target: Path) -> Path:
            steps.append("rename")
            return rename(self, target)

        monkeypatch.setattr(os, "fsync", note_fsync)
        monkeypatch.setattr(Path, "replace", note_rename)
        write(tmp_path / "file", "text")
        assert steps == ["file", "rename", "folder"]


@dataclass(frozen=True)
class Kind:
    """A kind of run folder: how it is opened with a description."""

    folder: type[BaseRunFolder]
    open: Callable[[Path, int, bool], BaseRunFolder]


def open_run(path: Path, seed: int, resume: bool) -> BaseRunFolder:
    folder = RunFolder.resume(path) if resume else RunFolder.create(path, "x")
    wanted = {"specification": {"seed": seed}}
    if folder.holds_run:
        folder.check_identity(wanted, ("specification",))
    else:
        folder.write_description(wanted)
    return folder


def run_kind() -> Kind:
    return Kind(RunFolder, open_run)


def training_kind() -> Kind:
    pytest.importorskip("torch")
    from archon.train.folder import TrainingFolder

    def open_training(path: Path, seed: int, resume: bool) -> BaseRunFolder:
        folder = TrainingFolder(path, {"seed": seed}, resume=resume)
        folder.write_record()
        return folder

    return Kind(TrainingFolder, open_training)


KINDS = [run_kind, training_kind]


def test_every_kind_of_run_folder_is_tested() -> None:
    assert {make().folder for make in KINDS} == set(BaseRunFolder.__subclasses__())


@pytest.mark.parametrize("make", KINDS)
class TestRunFolders:
    """Run over the folders of evaluations and of trainings."""

    def test_a_new_folder_is_made_and_described(
        self, make: Callable[[], Kind], tmp_path: Path
    ) -> None:
        kind = make()
        folder = kind.open(tmp_path / "a" / "b", 1, False)
        assert folder.holds_run
        assert folder.required_key in folder.read_description()

    def test_a_run_is_not_overwritten(self, make: Callable[[], Kind], tmp_path: Path) -> None:
        kind = make()
        kind.open(tmp_path, 1, False)
        with pytest.raises(UsageError, match=f"already contains a {kind.folder.kind};.*--resume"):
            kind.open(tmp_path, 1, False)

    def test_the_same_run_is_resumed_and_another_is_refused(
        self, make: Callable[[], Kind], tmp_path: Path
    ) -> None:
        kind = make()
        kind.open(tmp_path, 1, False)
        assert kind.open(tmp_path, 1, True).holds_run
        with pytest.raises(UsageError, match=r"seed: 1 stored, 2 now"):
            kind.open(tmp_path, 2, True)

    def test_other_files_are_refused(self, make: Callable[[], Kind], tmp_path: Path) -> None:
        kind = make()
        (tmp_path / "notes.txt").write_text("mine")
        for resume in (False, True):
            with pytest.raises(UsageError, match=r"not empty and does not contain .*notes\.txt"):
                kind.open(tmp_path, 1, resume)
        assert [entry.name for entry in tmp_path.iterdir()] == ["notes.txt"]

    def test_what_a_killed_process_leaves_at_its_beginning_is_no_obstacle(
        self, make: Callable[[], Kind], tmp_path: Path
    ) -> None:
        kind = make()
        for name in (LOCK, f"{kind.folder.description}.part"):
            (tmp_path / name).write_text("")
        assert kind.open(tmp_path, 1, False).holds_run

    @pytest.mark.parametrize("content", ["", "{", "[]", "{}", "[" * 99999])
    def test_a_damaged_description_is_an_error_of_the_user(
        self, make: Callable[[], Kind], tmp_path: Path, content: str
    ) -> None:
        kind = make()
        (tmp_path / kind.folder.description).write_text(content)
        with pytest.raises(UsageError, match=r"is damaged|does not describe"):
            kind.open(tmp_path, 1, True)

    def test_one_process_writes_at_a_time(self, make: Callable[[], Kind], tmp_path: Path) -> None:
        kind = make()
        folder = kind.open(tmp_path, 1, False)
        with (
            locked(tmp_path, kind.folder.kind),
            pytest.raises(UsageError, match=f"another process is writing the {kind.folder.kind}"),
            folder.locked(),
        ):
            pass
        with folder.locked():
            pass
