"""Errors of a hub on this machine: the hub's own message and a remedy."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import TypeAdapter

from archon import weights
from archon.errors import ModelError
from archon.spec.model import LocalCard
from archon.weights.hub_child import describe
from archon.weights.hub_errors import Wanted, explain

pytest.importorskip("huggingface_hub")

WANTED = Wanted("o/n", "https://hub.example", file="m.gguf", revision="v1")
SOURCE = {"huggingface": "o/n", "file": "m.gguf", "revision": "v1", "sha256": "0" * 64}


@pytest.fixture
def refusing_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A hub that answers every request for a repository with one status and some headers."""
    from huggingface_hub import constants

    hub = SimpleNamespace(status=404, headers={}, body=b"")

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            is_probe = self.path == "/"
            self.send_response(200 if is_probe else hub.status)
            for name, value in ({} if is_probe else hub.headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0" if is_probe else str(len(hub.body)))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(hub.body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    for name, value in (("ENDPOINT", endpoint), ("HF_HUB_CACHE", str(tmp_path / "hub"))):
        monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv(name.replace("ENDPOINT", "HF_ENDPOINT"), value)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("ARCHON_CACHE", str(tmp_path / "cache"))
    yield hub
    server.shutdown()
    thread.join()
    server.server_close()


def refusal(tmp_path: Path, source: dict[str, str]) -> str:
    card = {"name": "hub-case", "backend": "local", "sources": [source]}
    with pytest.raises(ModelError) as caught:
        weights.pull(TypeAdapter(LocalCard).validate_python(card), tmp_path)
    return str(caught.value)


GATED = {
    "X-Error-Code": "GatedRepo",
    "X-Error-Message": "Access to model o/n is restricted and you are not in the authorized list.",
}


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (403, GATED, ["is gated", "is restricted and you are not in", "HF_TOKEN", "/o/n"]),
        (401, GATED, ["is gated", "is restricted and you are not in", "HF_TOKEN", "/o/n"]),
        (
            404,
            {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"},
            ["no model with this name, or it is private", "HF_TOKEN", "Repository not found"],
        ),
        (
            404,
            {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id: v1"},
            ["no revision 'v1'", "Invalid rev id: v1"],
        ),
        (
            404,
            {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"},
            ["does not have the file 'm.gguf' at the revision 'v1'", "/o/n/tree/v1"],
        ),
        (404, {}, ["did not find what was requested", "check the repository, the file and"]),
        (
            403,
            {"X-Error-Message": "Access to this resource is disabled."},
            ["disabled the repository"],
        ),
        (403, {"X-Error-Message": "No read permission"}, ["No read permission", "HF_TOKEN"]),
        (
            401,
            {"X-Error-Message": "Invalid credentials in Authorization header"},
            ["rejects the access token: Invalid credentials in Authorization header"],
        ),
        (418, {"X-Error-Message": "Only tea is left"}, ["Only tea is left"]),
    ],
)
def test_the_hubs_own_message_is_reported(
    tmp_path: Path,
    refusing_hub: SimpleNamespace,
    status: int,
    headers: dict[str, str],
    said: list[str],
) -> None:
    refusing_hub.status, refusing_hub.headers = status, headers
    message = refusal(tmp_path, SOURCE)
    assert "hub o/n: " in message
    for text in said:
        assert text in message


def test_a_gated_folder_of_safetensors_is_reported_too(
    tmp_path: Path, refusing_hub: SimpleNamespace
) -> None:
    refusing_hub.status, refusing_hub.headers = 403, GATED
    message = refusal(tmp_path, {"huggingface": "o/n", "sha256": "0" * 64})
    assert "is restricted and you are not in the authorized list" in message
    assert "HF_TOKEN" in message


def test_every_source_is_listed_with_its_reason(
    tmp_path: Path, refusing_hub: SimpleNamespace
) -> None:
    refusing_hub.status, refusing_hub.headers = 403, GATED
    sources = [SOURCE, {"path": "nowhere.gguf"}]
    card = {"name": "hub-case", "backend": "local", "sources": sources}
    with pytest.raises(ModelError) as caught:
        weights.pull(TypeAdapter(LocalCard).validate_python(card), tmp_path)
    first, hub_line, path_line = str(caught.value).split("\n")
    assert first == "no source of the model card 'hub-case' provided its weights:"
    assert "the repository is gated" in hub_line
    assert path_line == f"  path nowhere.gguf: {tmp_path / 'nowhere.gguf'} does not exist"


class LocalEntryNotFoundError(FileNotFoundError):
    """Wrap an error as the client does if it cannot reach the hub."""


class ConnectError(Exception):
    """Error with the name of one of httpx."""


def wrapped(cause: Exception) -> Exception:
    try:
        try:
            raise cause
        except type(cause) as inner:
            raise LocalEntryNotFoundError("check your connection") from inner
    except LocalEntryNotFoundError as error:
        return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (wrapped(ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed")), "SSL_CERT_FILE"),
        (wrapped(ConnectError("Connection refused")), "no connection to https://hub.example: Conn"),
        (OSError(errno.ENOSPC, "", "/cache/blob"), "No space left on device: /cache/blob; free"),
        (PermissionError(errno.EACCES, "", "/cache"), "Permission denied: /cache; set HF_HOME"),
        (wrapped(ValueError("what it was\nand more")), "what it was"),
        (RuntimeError("one\ntwo"), "one"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_local_failures_are_reported_with_a_cure(error: Exception, said: str) -> None:
    message = explain(describe(error), WANTED)
    assert said in message
    assert "\n" not in message


def test_a_suppressed_cause_is_explained() -> None:
    response = SimpleNamespace(status_code=429, headers={"Retry-After": "30"})
    try:
        try:
            limit = OSError("429")
            limit.response = response  # type: ignore[attr-defined]
            raise limit
        except OSError:
            raise FileNotFoundError("Couldn't find any data file") from None
    except FileNotFoundError as error:
        message = explain(describe(error), WANTED)
    assert message.endswith("limits the rate of requests: too many requests; try again in 30 "
                            "seconds, or set HF_TOKEN")  # fmt: skip


def test_a_long_message_is_truncated() -> None:
    assert len(explain(describe(RuntimeError("x" * 10_000)), WANTED)) < 500
