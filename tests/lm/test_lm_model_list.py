"""A card without a model: the server is asked when the model is opened."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

import archon
from archon.errors import ModelError, UsageError
from archon.lm.lazy import LazyLM
from archon.lm.remote import open_remote
from archon.spec.model import OpenAICard
from archon.spec.reader import load_model_card


@pytest.fixture
def server() -> Iterator[SimpleNamespace]:
    """A server that lists its models."""
    state = SimpleNamespace(status=200, models=["llama"], body=None, seen=[])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.seen.append((self.path, self.headers.get("Authorization")))
            listed = {"object": "list", "data": [{"id": name} for name in state.models]}
            content = state.body or json.dumps(listed).encode()
            self.send_response(state.status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{running.server_port}/v1"
    try:
        yield state
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def opened(string: str) -> str | None:
    card = load_model_card(string).spec
    assert isinstance(card, OpenAICard)
    return open_remote(card).card.model


def test_the_only_model_of_a_server_is_used(server: SimpleNamespace) -> None:
    assert opened(server.url) == "llama"
    assert server.seen == [("/v1/models", None)]
    server.seen.clear()
    assert opened(f"{server.url}#other") == "other"
    assert server.seen == []


def test_several_models_are_an_error_that_lists_them(server: SimpleNamespace) -> None:
    server.models = ["llama", "qwen"]
    with pytest.raises(ModelError, match=r"has 2 models: 'llama', 'qwen'; name") as caught:
        opened(server.url)
    assert f"{server.url}#MODEL" in str(caught.value)


def test_no_model_is_an_error(server: SimpleNamespace) -> None:
    server.models = []
    with pytest.raises(ModelError, match="lists no model; load one"):
        opened(server.url)


def test_the_key_is_sent_and_not_shown(
    server: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-secret-12345")
    keys = {"name": "c", "backend": "openai", "base_urls": [server.url], "api_key_env": "SOME_KEY"}
    card = OpenAICard.model_validate(keys)
    assert open_remote(card).card.model == "llama"
    assert server.seen == [("/v1/models", "Bearer sk-secret-12345")]
    server.status, server.body = 401, b'{"error": {"message": "bad key sk-secret-12345"}}'
    with pytest.raises(ModelError, match=r"status 401: bad key \[key\]"):
        open_remote(card)


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"data": 3}', b'{"data": [{"no": 1}]}'])
def test_an_unreadable_list_is_an_error(body: bytes, server: SimpleNamespace) -> None:
    server.body = body
    with pytest.raises(ModelError, match="lists no model"):
        opened(server.url)


def test_a_server_that_does_not_answer_is_an_error() -> None:
    card = load_model_card("http://127.0.0.1:9/v1")
    with pytest.raises(ModelError, match=r"cannot ask http://127\.0\.0\.1:9/v1/models"):
        LazyLM(card.spec, card.base_dir).open()


def test_a_missing_key_is_an_error_that_names_its_variable_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UsageError, match="OPENAI_API_KEY is not set") as caught:
        opened("openai/gpt-oss-20b")
    assert "'openai:gpt-oss-20b'" in str(caught.value)
    assert "hf:openai/gpt-oss-20b" in str(caught.value)


def test_a_run_records_the_name_of_the_model(server: SimpleNamespace) -> None:
    names = []
    for name in ("llama", "qwen"):
        server.models = [name]
        architecture = archon.load("single", models=server.url)
        names.append(architecture.specification("number", None)["models"]["solver"]["model"])
        del architecture  # the next one then opens the model again
        gc.collect()
    assert names == ["llama", "qwen"]
