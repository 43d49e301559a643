"""Pulling files, also split ones, from a hub on this machine."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tiny_wheels import DIGEST, WHOLE, card

from archon import weights
from archon.errors import ModelError
from archon.weights import hub
from archon.weights.model_files import part_names

HUB = {"huggingface": "owner/tiny", "file": "tiny.gguf", "sha256": DIGEST}


def test_a_silent_hub_fails_within_the_probes_time_limit(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"hub owner/tiny: http://127.0.0.1:9 is unreachable"):
        weights.pull(card(HUB), tmp_path)


def test_an_offline_hub_is_not_contacted(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "probe", lambda endpoint: pytest.fail("asked"))
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
        weights.pull(card(HUB), tmp_path)


SPLIT = ["split-00001-of-00002.gguf", "split-00002-of-00002.gguf"]
SPLIT_DIGEST = hashlib.sha256("".join(f"{DIGEST}  {name}\n" for name in SPLIT).encode()).hexdigest()
"""Output of ``sha256sum split-*.gguf | sha256sum``."""


@pytest.fixture
def hub_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub with one file, and the requests that it received."""
    constants = pytest.importorskip("huggingface_hub.constants")
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            seen.append(f"{self.command} {self.path}")
            known = self.path.endswith(("/", "/tiny.gguf", *SPLIT))
            self.send_response(200 if known else 404)
            self.send_header("X-Repo-Commit", "c" * 40)
            self.send_header("ETag", f'"{DIGEST}"')
            self.send_header("Content-Length", str(len(WHOLE)))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(WHOLE)

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
    yield seen
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_hub_file_stays_in_the_hubs_cache_and_is_fetched_once(
    cache: Path, tmp_path: Path, hub_server: list[str]
) -> None:
    path = weights.pull(card(HUB), tmp_path)
    assert path.read_bytes() == WHOLE
    assert path.is_relative_to(tmp_path / "hub")
    hub_server.clear()
    assert weights.pull(card(HUB), tmp_path) == path
    weights.remove(card(HUB))
    assert weights.pull(card(HUB), tmp_path) == path
    assert hub_server == []


def test_a_hub_file_with_the_wrong_digest_is_deleted(
    cache: Path, tmp_path: Path, hub_server: list[str]
) -> None:
    with pytest.raises(ModelError, match=f"found {DIGEST}"):
        weights.pull(card({**HUB, "sha256": "0" * 64}), tmp_path)
    assert not list((tmp_path / "hub").rglob("*.gguf"))
    assert not [p for p in (tmp_path / "hub").rglob(f"*{DIGEST}*") if p.stat().st_size]


@pytest.mark.parametrize("named", SPLIT)
def test_every_part_of_a_split_model_is_fetched_from_the_hub(
    named: str, cache: Path, tmp_path: Path, hub_server: list[str]
) -> None:
    split = card({**HUB, "file": named, "sha256": SPLIT_DIGEST})
    path = weights.pull(split, tmp_path)
    assert path.name == named
    assert all(path.with_name(name).read_bytes() == WHOLE for name in SPLIT)
    assert weights.identity(split, path) == SPLIT_DIGEST
    hub_server.clear()
    assert weights.pull(split, tmp_path) == path
    assert hub_server == []


def test_parts_from_the_hub_with_the_wrong_digest_are_deleted(
    cache: Path, tmp_path: Path, hub_server: list[str]
) -> None:
    with pytest.raises(ModelError, match=f"found {SPLIT_DIGEST}"):
        weights.pull(card({**HUB, "file": SPLIT[1], "sha256": "0" * 64}), tmp_path)
    assert not list((tmp_path / "hub").rglob("*.gguf"))


def test_a_path_to_one_part_stands_for_all_parts(cache: Path, tmp_path: Path) -> None:
    for name in SPLIT:
        (tmp_path / name).write_bytes(WHOLE)
    for name in SPLIT:
        path = weights.pull(card({"path": name, "sha256": SPLIT_DIGEST}), tmp_path)
        assert path == tmp_path / name
        assert weights.identity(card({"path": name}), path) == SPLIT_DIGEST
    (tmp_path / SPLIT[0]).write_bytes(WHOLE[:-1])
    with pytest.raises(ModelError, match="wrong SHA-256"):
        weights.pull(card({"path": SPLIT[1], "sha256": SPLIT_DIGEST}), tmp_path)


@pytest.mark.parametrize(
    "name",
    ["m.gguf", "m-1-of-2.gguf", "m-00003-of-00002.gguf", "m-00000-of-00002.gguf",
     "m-00001-of-00001-x.gguf"],
)  # fmt: skip
def test_other_names_are_single_files(name: str) -> None:
    assert part_names(name) == [name]


def test_a_file_that_the_hub_lacks_is_reported(
    cache: Path, tmp_path: Path, hub_server: list[str]
) -> None:
    with pytest.raises(ModelError, match=r"hub owner/tiny: .*404"):
        weights.pull(card({**HUB, "file": "other.gguf"}), tmp_path)
