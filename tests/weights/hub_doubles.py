"""A fake of the Hugging Face hub on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from archon.errors import ModelError
from archon.weights import download_process, hub_child

huggingface_hub = pytest.importorskip("huggingface_hub")


class FakeHub:
    """Repositories with one branch each; the test may change them."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.commits: dict[str, str] = {}
        self.info: dict[str, Any] = {}
        """Further keys of the description of every repository."""
        self.requests: list[str] = []
        self.tokens: dict[str, str | None] = {}
        """Request → its authorization."""

    def publish(self, repository: str, files: dict[str, bytes], commit: str = "a" * 40) -> None:
        self.files[repository], self.commits[repository] = files, commit

    def reply(self, path: str) -> tuple[bytes | None, str]:
        """Return the content at a path, None if there is none, and the commit."""
        for repository, files in self.files.items():
            commit = self.commits[repository]
            api = f"/api/models/{repository}"
            if path.startswith(f"{api}/tree/"):
                listed = [
                    {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                    for name, content in files.items()
                ]
                return json.dumps(listed).encode(), commit
            if path == api or path.startswith(f"{api}/"):
                if path not in (api, f"{api}/revision/main", f"{api}/revision/{commit}"):
                    return None, commit
                return json.dumps(self.description(repository)).encode(), commit
            if path.startswith(f"/{repository}/resolve/"):
                revision, _, name = path.removeprefix(f"/{repository}/resolve/").partition("/")
                return files.get(name) if revision in ("main", commit) else None, commit
        return (b"" if path == "/" else None), "0" * 40

    def description(self, repository: str) -> dict[str, Any]:
        siblings = []
        for name, content in self.files[repository].items():
            digest = hashlib.sha256(content).hexdigest()
            lfs = {"size": len(content), "sha256": digest, "pointerSize": 1}
            is_large = name.endswith((".gguf", ".safetensors"))
            siblings.append(
                {"rfilename": name, "size": len(content)} | ({"lfs": lfs} if is_large else {})
            )
        named = {"id": repository, "sha": self.commits[repository], "siblings": siblings}
        return named | self.info


class Client:
    """The work of ``hub_child`` in this process: importing the client in a child takes a second.

    Files are written into the client's cache as it would write them.
    """

    def __init__(self, hub: FakeHub, home: Path) -> None:
        self.hub, self.home = hub, home

    def run(self, command: list[str], environment: object, report: object) -> str:
        call, arguments = json.loads(command[-1])
        try:
            if call == "repository":
                return hub_child.repository(**arguments)
            return str(getattr(self, call)(**arguments))
        except Exception as error:
            raise ModelError(json.dumps(hub_child.describe(error))) from None

    def hf_hub_download(self, repo_id: str, filename: str, revision: str) -> Path:
        return self._write(repo_id, filename, revision)

    def snapshot_download(
        self, repo_id: str, revision: str, allow_patterns: list[str], ignore_patterns: list[str]
    ) -> Path:
        names = huggingface_hub.utils.filter_repo_objects(
            self.hub.files[repo_id], allow_patterns=allow_patterns, ignore_patterns=ignore_patterns
        )
        written = [self._write(repo_id, name, revision) for name in names]
        return written[0].parent

    def _write(self, repository: str, name: str, revision: str) -> Path:
        content, commit = self.hub.files[repository][name], self.hub.commits[repository]
        self.hub.requests.append(f"download {name}")
        folder = self.home / f"models--{repository.replace('/', '--')}"
        blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
        link, ref = folder / "snapshots" / commit / name, folder / "refs" / revision
        for path in (blob, link, ref):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link.unlink(missing_ok=True)
        link.symlink_to(blob)
        ref.write_text(commit)
        return link


@contextmanager
def running_hub(
    home: Path, monkeypatch: pytest.MonkeyPatch, *, in_process: bool = True
) -> Iterator[FakeHub]:
    """Run a hub, and point its client to it; ``home`` is the client's cache.

    Parameters
    ----------
    in_process
        Call the client in this process, not in child processes.
    """
    from huggingface_hub import constants

    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def answer(self, with_body: bool) -> None:
            hub.requests.append(f"{self.command} {self.path}")
            hub.tokens[hub.requests[-1]] = self.headers.get("Authorization")
            content, commit = hub.reply(self.path.partition("?")[0])
            self.send_response(404 if content is None else 200)
            self.send_header("X-Repo-Commit", commit)
            self.send_header("ETag", f'"{hashlib.sha256(content or b"").hexdigest()}"')
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            if with_body:
                self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    for name, value in (("ENDPOINT", endpoint), ("HF_HUB_CACHE", str(home))):
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    monkeypatch.setenv("HF_HUB_CACHE", str(home))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    if in_process:
        monkeypatch.setattr(download_process, "run", Client(hub, home).run)
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
