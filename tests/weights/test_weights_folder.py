"""Pulling model folders from a path, and from a hub on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tiny_wheels import card

from archon import weights
from archon.errors import ModelError
from archon.weights import hub
from archon.weights.digest import digest_of
from archon.weights.progress import silent

FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "model-00001-of-00002.safetensors": b"a" * 5000,
    "model-00002-of-00002.safetensors": b"b" * 3000,
}
OTHERS = {"README.md": b"# A model", "onnx/model.safetensors": b"x", "pytorch_model.bin": b"x"}
LINES = "".join(f"{hashlib.sha256(FILES[n]).hexdigest()}  {n}\n" for n in sorted(FILES))
DIGEST = hashlib.sha256(LINES.encode()).hexdigest()
HUB = {"huggingface": "owner/tiny", "sha256": DIGEST}
COMMIT = "c" * 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path / "model", FILES | OTHERS)


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


# ---------------------------------------------------------------------------------- digests


def test_the_digest_is_that_of_the_lines_of_sha256sum(folder: Path) -> None:
    assert digest_of(folder, silent) == DIGEST


def test_only_files_that_the_engine_may_read_count(folder: Path) -> None:
    (folder / "README.md").write_text("another text")
    assert digest_of(folder, silent) == DIGEST
    for name in ("generation_config.json", "chat_template.jinja", "more.safetensors"):
        (folder / name).write_text("{}")
        assert digest_of(folder, silent) != DIGEST
        (folder / name).unlink()
    (folder / "config.json").write_text("{}")
    assert digest_of(folder, silent) != DIGEST


# ------------------------------------------------------------------------------------ paths


def test_a_folders_digest_is_checked_once(cache: Path, folder: Path, tmp_path: Path) -> None:
    stages = []
    source = card({"path": "model", "sha256": DIGEST})
    for _ in range(2):
        path = weights.pull(source, tmp_path, lambda progress: stages.append(progress.done_bytes))
        assert path == folder
    assert stages[-1] == sum(map(len, FILES.values()))
    assert len(stages) == len(FILES)
    assert weights.find(source, tmp_path) == folder


@pytest.mark.parametrize("change", ["touched", "grown", "gone", "added"])
def test_a_folder_that_changed_is_checked_again(
    change: str, cache: Path, folder: Path, tmp_path: Path
) -> None:
    source = card({"path": "model", "sha256": DIGEST})
    weights.pull(source, tmp_path)
    shard = folder / "model-00001-of-00002.safetensors"
    match change:
        case "touched":
            shard.write_bytes(b"z" * 5000)
            os.utime(shard, ns=(1, 1))
        case "grown":
            shard.write_bytes(b"a" * 5001)
        case "gone":
            shard.unlink()
        case "added":
            (folder / "new.safetensors").write_bytes(b"x")
    assert weights.find(source, tmp_path) is None
    with pytest.raises(ModelError, match=f"wrong SHA-256: expected {DIGEST}"):
        weights.pull(source, tmp_path)


def test_a_folder_without_digest_is_used_unverified(
    cache: Path, folder: Path, tmp_path: Path
) -> None:
    assert weights.find(card({"path": "model"}), tmp_path) == folder
    assert weights.pull(card({"path": "model"}), tmp_path) == folder
    assert weights.remove(card({"path": "model"})) == 0
    assert folder.exists()


@pytest.mark.parametrize("source", [{"path": "model"}, {"path": "model", "sha256": DIGEST}])
def test_a_folder_without_a_model_is_refused(
    source: dict[str, str], cache: Path, folder: Path, tmp_path: Path
) -> None:
    (folder / "config.json").unlink()
    assert weights.find(card(source), tmp_path) is None
    with pytest.raises(ModelError, match=r"path model: the folder has no config\.json"):
        weights.pull(card(source), tmp_path)


# -------------------------------------------------------------------------------------- hub


@pytest.fixture
def hub_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """The files of a hub's only repository. The test may change them."""
    constants = pytest.importorskip("huggingface_hub.constants")
    files = FILES | OTHERS

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            path = self.path.partition("?")[0]
            name = path.rpartition(f"/resolve/{COMMIT}/")[2]
            content = files.get(name) if "/resolve/" in path else b""
            if path.startswith("/api/models/owner/tiny/tree/"):
                content = json.dumps(
                    [{"type": "file", "path": n, "size": len(c), "oid": "0" * 40}
                     for n, c in files.items()]
                ).encode()  # fmt: skip
            elif path.startswith("/api/models/owner/tiny"):
                listed = [{"rfilename": n} for n in files]
                info = {"id": "owner/tiny", "sha": COMMIT, "siblings": listed}
                content = json.dumps(info).encode()
            elif path.startswith("/api/"):
                content = None
            self.send_response(404 if content is None else 200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(content or b"").hexdigest()}"')
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if with_body:
                self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    for name, value in (("ENDPOINT", endpoint), ("HF_HUB_CACHE", str(tmp_path / "hub"))):
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield files
    server.shutdown()
    thread.join()
    server.server_close()


def test_only_model_files_of_a_hub_folder_are_fetched(
    cache: Path, tmp_path: Path, hub_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights.pull(card(HUB), tmp_path)
    assert path.is_relative_to(tmp_path / "hub")
    assert {p.name: p.read_bytes() for p in path.rglob("*") if p.is_file()} == FILES
    assert weights.find(card(HUB), tmp_path) == path
    weights.remove(card(HUB))
    monkeypatch.setattr(hub, "probe", lambda endpoint: pytest.fail("asked"))
    assert weights.pull(card(HUB), tmp_path) == path


def test_an_incomplete_hub_folder_is_completed(
    cache: Path, tmp_path: Path, hub_files: dict[str, bytes]
) -> None:
    path = weights.pull(card(HUB), tmp_path)
    shard = path / "model-00002-of-00002.safetensors"
    shard.resolve().unlink()
    shard.unlink()
    assert weights.find(card(HUB), tmp_path) is None
    assert weights.pull(card(HUB), tmp_path) == path
    assert shard.read_bytes() == FILES[shard.name]


def test_a_hub_folder_with_the_wrong_digest_is_refused(
    cache: Path, tmp_path: Path, hub_files: dict[str, bytes]
) -> None:
    wrong = card({**HUB, "sha256": "0" * 64})
    with pytest.raises(ModelError, match=f"hub owner/tiny: .*expected {'0' * 64}, found {DIGEST}"):
        weights.pull(wrong, tmp_path)
    assert weights.find(wrong, tmp_path) is None


def test_a_hub_repository_without_a_model_folder_is_refused(
    cache: Path, tmp_path: Path, hub_files: dict[str, bytes]
) -> None:
    del hub_files["config.json"]
    with pytest.raises(ModelError, match=r"hub owner/tiny: the repository has no config\.json"):
        weights.pull(card(HUB), tmp_path)


def test_a_missing_hub_repository_is_reported(
    cache: Path, tmp_path: Path, hub_files: dict[str, bytes]
) -> None:
    with pytest.raises(ModelError, match="hub owner/other: "):
        weights.pull(card({**HUB, "huggingface": "owner/other"}), tmp_path)


def test_an_offline_hub_folder_is_not_requested(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "probe", lambda endpoint: pytest.fail("asked"))
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
        weights.pull(card(HUB), tmp_path)
