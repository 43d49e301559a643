"""A server process under load and during shutdown, and its log."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from serve_process import KEY, Served, slow_card

QUESTION: Any = [{"role": "user", "content": "What is 17 * 23?"}]
Serve = Callable[..., Any]


def ask(served: Served, model: str, **values: Any) -> Any:
    with served.client() as client:
        return client.chat.completions.create(model=model, messages=QUESTION, **values)


def read_all(served: Served, model: str) -> str:
    """Return a streamed answer after its end."""
    with served.client() as client:
        stream = client.chat.completions.create(model=model, messages=QUESTION, stream=True)
        return "".join(c.delta.content or "" for chunk in stream for c in chunk.choices)


# --------------------------------------------------------------------------------------- the door


def test_every_route_except_health_needs_the_key(scripted: Served) -> None:
    with httpx.Client(base_url=scripted.address, trust_env=False) as http:
        assert http.get("/health").status_code == 200
        for path in ("/v1/models", "/v1/models/single", "/metrics", "/openapi.json", "/nothing"):
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": KEY}):
                reply = http.get(path, headers=headers)
                assert reply.status_code == 401
                assert reply.json()["error"]["code"] == "invalid_api_key"
        assert http.post("/v1/chat/completions", json={}).status_code == 401
    with scripted.client(api_key="wrong") as client, pytest.raises(openai.AuthenticationError):
        client.models.list()


def test_a_server_without_a_key_accepts_only_local_host_names(serve: Serve) -> None:
    with serve("single", "--model", "solver=scripted", key=None) as served:
        port = served.address.rpartition(":")[2]
        with httpx.Client(base_url=served.address, trust_env=False) as http:
            for host in ("127.0.0.1", f"localhost:{port}", f"[::1]:{port}"):
                assert http.get("/v1/models", headers={"Host": host}).status_code == 200
            for host in ("evil.example", f"evil.example:{port}", "[", "127.0.0.1.evil.example"):
                assert http.get("/v1/models", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["single", "--host", "0.0.0.0"], "--api-key-env"),
        (["single", "--api-key-env", "NO_SUCH_KEY"], "NO_SUCH_KEY is not set"),
        (["single", "--max-running", "0"], "--max-running"),
        (["single", "--max-body-bytes", "67108865"], "--max-body-bytes"),
        (["no-such-thing"], "no architecture named 'no-such-thing'"),
        (["./missing.gguf"], "missing.gguf"),
        (["scripted", "scripted"], "have the name 'scripted'"),
        (["scripted", "--model", "solver=scripted"], "solver"),
    ],
)
def test_bad_arguments_are_reported(arguments: list[str], reason: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "archon", "serve", "--port", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_a_strict_server_with_a_larger_limit(serve: Serve) -> None:
    def ask(client: openai.OpenAI, **values: Any) -> None:
        client.chat.completions.create(model="scripted", messages=QUESTION, **values)

    arguments = ["scripted", "--strict", "--max-body-bytes", "5000000"]
    with serve(*arguments) as served, served.client() as client:
        ask(client, user="u" * 4_500_000)
        with pytest.raises(openai.BadRequestError, match="--strict"):
            ask(client, extra_body={"mood": "sunny"})
        with pytest.raises(openai.APIStatusError, match="--max-body-bytes") as caught:
            ask(client, user="u" * 5_000_000)
    assert caught.value.status_code == 413


# ------------------------------------------------------------------------------------- hanging up


async def test_a_cancelled_call_frees_its_slot_immediately(serve: Serve, patient: Path) -> None:
    with serve(patient, "--max-running", "1") as served:
        async with served.async_client() as client:
            for number in range(1, 4):
                call = asyncio.create_task(
                    client.chat.completions.create(
                        model="patient", messages=QUESTION, stream=number == 2
                    )
                )
                await asyncio.to_thread(served.wait_for, "archon_requests_running", 1)
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
                hung_up = 'archon_requests_total{model="patient",status="499"}'
                await asyncio.to_thread(served.wait_for, hung_up, number)
                assert served.count("archon_requests_running") == 0


def test_closing_a_stream_ends_the_call(tiny: Served) -> None:
    before = tiny.count('archon_requests_total{model="tiny",status="499"}')
    with tiny.client() as client:
        stream = client.chat.completions.create(
            model="tiny", messages=QUESTION, max_tokens=400, n=8, stream=True
        )
        next(iter(stream))
        stream.close()
    tiny.wait_for("archon_requests_running", 0)
    tiny.wait_for('archon_requests_total{model="tiny",status="499"}', before + 1)


# ----------------------------------------------------------------------------------------- limits


async def test_a_full_queue_sends_retry_after(serve: Serve, patient: Path) -> None:
    with serve(patient, "--max-running", "1", "--max-waiting", "1") as served:
        async with served.async_client() as client:

            def call() -> asyncio.Task[Any]:
                return asyncio.create_task(
                    client.chat.completions.create(model="patient", messages=QUESTION)
                )

            calls = [call()]
            await asyncio.to_thread(served.wait_for, "archon_requests_running", 1)
            calls.append(call())
            await asyncio.to_thread(served.wait_for, "archon_requests_waiting", 1)
            with pytest.raises(openai.RateLimitError) as caught:
                await call()
            assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
            assert caught.value.code == "rate_limit_exceeded"
            for waiting in reversed(calls):
                waiting.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        await asyncio.to_thread(served.wait_for, "archon_requests_waiting", 0)
        await asyncio.to_thread(served.wait_for, "archon_requests_running", 0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_times_out_is_not_retried(serve: Serve, patient: Path, stream: bool) -> None:
    with (
        serve(patient, "--max-seconds", "0.2") as served,
        served.client(max_retries=2) as client,
    ):
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="patient", messages=QUESTION, stream=stream)
        assert caught.value.status_code == 504
        assert served.count('archon_requests_total{model="patient",status="504"}') == 1


def test_a_stream_that_takes_too_long_ends_with_an_error(serve: Serve, patient: Path) -> None:
    arguments = ["self-consistency", "--model", f"solver={patient}", "--max-seconds", "0.3"]
    with serve(*arguments) as served, pytest.raises(openai.APIError, match=r"longer than 0\.3"):
        read_all(served, "self-consistency")


def test_the_size_of_one_request_is_limited(serve: Serve) -> None:
    limits = ["--max-messages", "2", "--max-request-tokens", "1100", "--max-body-bytes", "5000"]
    with serve("scripted", *limits) as served, served.client() as client:

        def refusal(**values: Any) -> openai.APIStatusError:
            asked: Any = {"model": "scripted", "messages": QUESTION} | values
            with pytest.raises(openai.APIStatusError) as caught:
                client.chat.completions.create(**asked)
            return caught.value

        assert refusal(messages=QUESTION * 3).code == "too_many_messages"
        assert refusal(n=3).code == "too_many_tokens"
        assert refusal(max_tokens=1101).code == "too_many_tokens"
        assert refusal(messages=[{"role": "user", "content": "x" * 5000}]).status_code == 413
        assert client.chat.completions.create(
            model="scripted", messages=QUESTION * 2, n=11, max_tokens=100
        ).choices


# ----------------------------------------------------------------------------------- coming to end


def test_a_signal_waits_for_running_answers(serve: Serve, tmp_path: Path) -> None:
    card = slow_card(tmp_path / "slow.json", 1)
    with serve(card) as served, ThreadPoolExecutor() as pool:
        answers = [pool.submit(ask, served, "slow"), pool.submit(read_all, served, "slow")]
        served.wait_for("archon_requests_running", 2)
        served.process.send_signal(signal.SIGTERM)
        assert all(answer.result() for answer in answers)
        assert served.process.wait(30) == 0
        with pytest.raises(openai.APIConnectionError):
            ask(served, "slow")


@pytest.mark.parametrize("how", ["deadline", "second signal"])
def test_unfinished_requests_get_an_error_when_the_server_stops(
    serve: Serve, patient: Path, how: str
) -> None:
    arguments = ["--drain-seconds", "0.2"] if how == "deadline" else []
    with serve(patient, *arguments) as served, ThreadPoolExecutor() as pool:
        answer = pool.submit(ask, served, "patient")
        served.wait_for("archon_requests_running", 1)
        served.process.send_signal(signal.SIGTERM)
        if how == "second signal":
            port = int(served.address.rpartition(":")[2])
            while not _is_free(port):  # the first signal is heard
                pass
            served.process.send_signal(signal.SIGTERM)
        error = answer.exception(timeout=30)
        assert isinstance(error, openai.InternalServerError)
        assert error.code == "shutting_down"
        assert served.process.wait(30) == 0
    assert "Traceback" not in served.log.read_text()


def _is_free(port: int) -> bool:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) != 0


# ---------------------------------------------------------------------------------------- secrets


class Echo(BaseHTTPRequestHandler):
    """A server that fails with the request in its response, headers included."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        message = f"cannot take {body} with {self.headers['Authorization']}"
        content = json.dumps({"error": {"message": message}}).encode()
        self.send_response(400)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[str]:
    """Yield the address of the server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("level", ["info", "debug"])
def test_neither_the_key_nor_request_contents_are_logged(
    serve: Serve, echo: str, tmp_path: Path, level: str
) -> None:
    own, upstream, said = "canary-own-key", "canary-upstream-key", "canary-of-the-request"
    card = {
        "name": "remote",
        "backend": "openai",
        "base_urls": [echo],
        "model": "m",
        "api_key_env": "UPSTREAM_KEY",
    }
    (tmp_path / "remote.json").write_text(json.dumps(card))
    arguments = ["single", "scripted", "self-consistency", tmp_path / "remote.json"]
    arguments += ["--model", f"solver={tmp_path / 'remote.json'}", "--log-level", level]
    heard = []
    with serve(*arguments, key=own, env={"UPSTREAM_KEY": upstream}) as served:
        headers = {"Authorization": f"Bearer {own}"}
        with httpx.Client(base_url=served.models, headers=headers, trust_env=False) as http:
            messages = [{"role": "user", "content": said}]
            for model in ("single", "self-consistency", "scripted", "remote", said):
                for extra in ({}, {"stream": True}, {"n": 0}, {"archon": {"trace": True}}):
                    body = {"model": model, "messages": messages, "user": said, **extra}
                    heard.append(http.post("/chat/completions", json=body).text)
            heard.append(http.post("/chat/completions", content=f"{{{said}").text)
            heard.append(http.get(f"/{said}?{said}").text)
            heard.append(http.get("/models", headers={"Authorization": f"Bearer {own}x"}).text)
            metrics = http.get(f"{served.address}/metrics").text
        served.process.send_signal(signal.SIGTERM)
        served.process.wait(30)
        assert served.process.stdout is not None
        log = served.log.read_text() + served.process.stdout.read()
    assert "archon.serve: a model did not answer: NodeError in node" in log
    for key in (own, upstream):
        assert key not in log + metrics + "".join(heard)
    assert said not in metrics
    if level != "debug":
        assert said not in log
