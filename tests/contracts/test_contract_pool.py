"""The pool of samples: the keys by which stored samples are found again, for each backend.

If a key changes, every sample that users have stored is lost to them. The table, the form of a row
and the keys are read from the pool's file, which ``ARCHON_POOL`` names.
"""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from contract_inputs import JUDGED, write_inputs
from golden_files import check, shape
from tiny_models import TinyModel, write_gguf

from archon.cli import main

EVAL = ["terms.json", "--limit", "1", "--split", "test", "--seed", "5", "--json"]
SERVER = "http://model.invalid/v1"
"""No such server: a proxy on this machine answers in its place, so that the address in the key does
not depend on a free port."""


@dataclass(frozen=True)
class Place:
    folder: Path
    pool: Path

    def rows(self) -> list[Any]:
        """Key, model, origin and payload of what is stored, sorted by key."""
        query = "SELECT lower(hex(key)), model, origin, payload FROM draws ORDER BY key"
        with closing(sqlite3.connect(self.pool)) as connection:
            return connection.execute(query).fetchall()

    def samples(self) -> dict[str, Any]:
        """Key to model, sample index and text, or the choices that were scored."""
        found = {}
        for key, model, _, payload in self.rows():
            data = json.loads(zlib.decompress(payload))
            scored = sorted(data["choice_logprobs"] or ())
            found[key] = [model, data["draw"], scored or data["text"]]
        return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARCHON_POOL", str(tmp_path / "pool"))
    write_inputs(tmp_path)
    graph = JUDGED | {"models": {"solver": "./card.json", "judge": "./card.json"}}
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    return Place(tmp_path, tmp_path / "pool")


def evaluate(
    capsys: pytest.CaptureFixture[str], card: dict[str, Any], graph: str = "graph.json"
) -> dict[str, Any]:
    Path("card.json").write_text(json.dumps(card))
    capsys.readouterr()
    assert main(["eval", graph, *EVAL]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert report["num_errors"] == 0
    return report


class Stub(BaseHTTPRequestHandler):
    """A chat server, asked as a proxy."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == f"{SERVER}/chat/completions"
        message = {"role": "assistant", "content": f"The answer is {body['seed'] % 100}."}
        reply = {
            "id": "x", "object": "chat.completion", "created": 0, "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
        }  # fmt: skip
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        """Be silent."""


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Stub) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, address)
        for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        yield
        server.shutdown()
        thread.join()


def test_keys_of_the_scripted_model(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    card = {"version": 1, "name": "fixed", "backend": "scripted", "accuracy": 0.7}
    evaluate(capsys, card)
    check("pool/scripted.json", place.samples())


def test_keys_of_the_local_model(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """They depend on the digest of the weights, on the precision and on the prompts' tokens."""
    write_gguf(Path("tiny.gguf"), TinyModel("qwen2", width=64, ffn_width=128, context_length=4096))
    card = {"name": "tiny", "backend": "local", "sources": [{"path": "./tiny.gguf"}],
            "precision": "float32", "sampling": {"max_tokens": 8}}  # fmt: skip
    evaluate(capsys, card)
    check("pool/local.json", place.samples())


CARDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "other fields": {
        "omit": ["top_p"],
        "body": {"repetition_penalty": 1.1},
        "headers": {"X-Route": "b"},
    },
    "sampling": {"sampling": {"temperature": 0.3, "max_tokens": 9}},
}


@pytest.mark.usefixtures("proxy")
@pytest.mark.parametrize("name", CARDS)
def test_keys_of_a_server(name: str, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    card = {"name": "served", "backend": "openai", "base_urls": [SERVER], "model": "m"}
    graph = {
        "version": 1, "name": "two", "models": {"solver": "./card.json"},
        "nodes": {"draft": {"type": "generator", "model": "solver", "samples": 2}},
        "output": "draft",
    }  # fmt: skip
    Path("two.json").write_text(json.dumps(graph))
    evaluate(capsys, card | CARDS[name], "two.json")
    check(f"pool/openai-{name.replace(' ', '-')}.json", place.samples())


def test_stored_samples_are_found_again(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    card = {"version": 1, "name": "fixed", "backend": "scripted", "accuracy": 0.7}
    first = evaluate(capsys, card)
    assert first["usage"]["generated_tokens"] > 0
    second = evaluate(capsys, card)
    assert second["usage"]["generated_tokens"] == 0
    assert second["usage"]["completion_tokens"] == first["usage"]["completion_tokens"]


def test_form_of_the_file(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(capsys, {"version": 1, "name": "fixed", "backend": "scripted", "accuracy": 0.7})
    with closing(sqlite3.connect(place.pool)) as connection:
        schema = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name")
        statements = {f"{kind} {name}": " ".join((sql or "").split()) for kind, name, sql in schema}
        totals = connection.execute("SELECT model, draws FROM totals").fetchall()
    rows = place.rows()
    assert totals == [("fixed", len(rows))]
    payloads = [json.loads(zlib.decompress(row[3])) for row in rows]
    for payload in payloads:
        payload["prompts"] = dict.fromkeys(["<digest>"], *payload["prompts"].values())
        payload["choice_logprobs"] = payload["choice_logprobs"] and {"<choice>": 0.0}
    origins = sorted({re.sub(r"^[0-9a-f]{32}/", "<run>/", row[2]) for row in rows})
    check("pool/file.json", {"schema": statements, "payloads": shape(payloads), "origins": origins})
