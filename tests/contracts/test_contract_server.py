"""The server: replies, streams, errors and the OpenAPI document of ``archon serve``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from contract_inputs import write_inputs
from golden_files import check, masked

QUESTION = {"role": "user", "content": "What is 12 + 7 - 3?"}
CHAT: dict[str, Any] = {"model": "judged", "messages": [QUESTION], "seed": 7}


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server: a selecting and a writing architecture, and a plain model."""
    folder = tmp_path_factory.mktemp("served")
    write_inputs(folder)
    command = [sys.executable, "-m", "archon", "serve", "judged.json", "critic-fuse", "scripted"]
    command += ["--model", "judge=scripted", "--model", "solver=scripted", "--port", "0", "--json"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, Path(folder / "log").read_text()
            told = json.loads(line)
            assert told["models"] == ["judged", "critic-fuse", "scripted"]
            with httpx.Client(base_url=told["address"], trust_env=False, timeout=60) as client:
                yield client
        finally:
            process.kill()


def cleaned(value: Any) -> Any:
    """A reply with ids and times masked."""
    text = re.sub(r'"(chatcmpl-|req[-_])[0-9a-zA-Z-]+"', r'"\1<id>"', json.dumps(value))
    return masked(json.loads(text))


def reply_of(response: httpx.Response) -> Any:
    kept = ("content-type", "www-authenticate", "allow")
    headers = {name: response.headers[name] for name in kept if name in response.headers}
    return {"status": response.status_code, "headers": headers, "body": cleaned(response.json())}


def test_models(http: httpx.Client) -> None:
    found = {path: reply_of(http.get(path)) for path in
             ("/v1/models", "/v1/models/judged", "/v1/models/nothing", "/health")}  # fmt: skip
    check("server/models.json", found)


@pytest.mark.parametrize("model", ["judged", "critic-fuse", "scripted"])
def test_completion_with_two_choices(http: httpx.Client, model: str) -> None:
    response = http.post("/v1/chat/completions", json=CHAT | {"model": model, "n": 2})
    check(f"server/completion-{model}.json", reply_of(response))


def test_sampling_and_logprobs(http: httpx.Client) -> None:
    body = CHAT | {"model": "scripted", "logprobs": True, "max_tokens": 3, "stop": ["never"]}
    check("server/logprobs.json", reply_of(http.post("/v1/chat/completions", json=body)))


@pytest.mark.parametrize("model", ["judged", "critic-fuse"])
def test_stream(http: httpx.Client, model: str) -> None:
    body = CHAT | {"model": model, "stream": True, "stream_options": {"include_usage": True}}
    response = http.post("/v1/chat/completions", json=body)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    events = []
    for block in response.text.strip().split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith(":")]
        assert all(line.startswith("data: ") for line in lines), block
        data = "".join(line.removeprefix("data: ") for line in lines)
        if data:
            events.append(data if data == "[DONE]" else cleaned(json.loads(data)))
    check(f"server/stream-{model}.json", events)


BAD: dict[str, Any] = {
    "no model": {"messages": [QUESTION]},
    "unknown model": CHAT | {"model": "judge"},
    "no messages": CHAT | {"messages": []},
    "wrong role": CHAT | {"messages": [{"role": "oracle", "content": "?"}]},
    "last message not the user's": CHAT | {"messages": [QUESTION, QUESTION | {"role": "system"}]},
    "wrong type": CHAT | {"temperature": "hot"},
    "out of range": CHAT | {"top_p": 2},
    "n of 0": CHAT | {"n": 0},
    "tools": CHAT | {"tools": [{"type": "function", "function": {"name": "f"}}]},
    "image": CHAT | {"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]},
    "constraint of an architecture that selects": CHAT | {"response_format": {
        "type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}},
    "unknown field": CHAT | {"seeds": 3},
}  # fmt: skip


def test_errors(http: httpx.Client) -> None:
    found = {
        name: reply_of(http.post("/v1/chat/completions", json=body)) for name, body in BAD.items()
    }
    found["not JSON"] = reply_of(
        http.post(
            "/v1/chat/completions", content=b"{", headers={"Content-Type": "application/json"}
        )
    )
    found["wrong path"] = reply_of(http.get("/v1/engines"))
    found["wrong method"] = reply_of(http.get("/v1/chat/completions"))
    check("server/errors.json", found)


def lines_of(value: Any, depth: int = 0) -> str:
    """JSON with one line for whatever is five levels deep, in its own order."""
    if depth == 5 or not isinstance(value, dict) or not value:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    rows = [f"{' ' * depth} {json.dumps(k)}: {lines_of(v, depth + 1)}" for k, v in value.items()]
    return "{\n" + ",\n".join(rows) + "\n" + " " * depth + "}"


def test_openapi_document(http: httpx.Client) -> None:
    response = http.get("/openapi.json")
    assert response.status_code == 200
    document = response.json()
    document["info"]["version"] = "<version>"
    check("server/openapi.json", lines_of(document))


def test_names_of_the_metrics(http: httpx.Client) -> None:
    """Those of a server that has answered, failed and streamed."""
    for changes in ({}, {"stream": True}, {"n": 0}):
        http.post("/v1/chat/completions", json=CHAT | changes)
    text = http.get("/metrics").raise_for_status().text
    lines = [line for line in text.splitlines() if re.match(r"# (HELP|TYPE) archon", line)]
    labels = {re.sub(r'="[^"]*"', "", row.rpartition(" ")[0]) for row in text.splitlines()
              if row.startswith("archon")}  # fmt: skip
    check("server/metrics.txt", "\n".join([*lines, *sorted(labels)]))
