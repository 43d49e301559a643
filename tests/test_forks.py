"""Forks after models were used: the child answers or reports an error, but never hangs."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import queue
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import archon
from archon.errors import ArchonError
from archon.graph import event_loop
from archon.lm.base import close
from archon.lm.lazy import LazyLM
from archon.lm.pool import DrawPool, pooling
from archon.spec.model import ScriptedCard
from archon.types import Message, Request, SamplingParams

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no forks")
SECONDS = 60.0
"""Far more than any test needs."""
QUESTION = "What is 17 * 23?"


_MADE: list[archon.Architecture] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Close models after each test, so that later tests do not share their engines."""
    yield
    while _MADE:
        event_loop.run_sync(close(_MADE.pop()._lms["solver"]))


def in_child(call: Callable[[], Any]) -> str:
    """The result or the error of a call in a forked child, as text."""
    context = multiprocessing.get_context("fork")
    answers = context.Queue()

    def run() -> None:
        try:
            answers.put(str(call()))
        except ArchonError as error:
            answers.put(f"{type(error).__name__}: {error}")

    process = context.Process(target=run)
    process.start()
    try:
        answer: str = answers.get(timeout=SECONDS)
        process.join(SECONDS)
        assert process.exitcode == 0
        return answer
    except queue.Empty:
        pytest.fail("the child hangs")
    finally:
        process.kill()


def architecture(card: dict[str, Any], **node: Any) -> archon.Architecture:
    nodes = {"n": {"type": "generator", "model": "solver", "sampling": {"max_tokens": 4}, **node}}
    models = {"solver": card}
    made = archon.load({"version": 1, "name": "a", "models": models, "nodes": nodes, "output": "n"})
    _MADE.append(made)
    return made


def local(path: Path) -> dict[str, Any]:
    sources = [{"path": str(path)}]
    return {"name": "tiny", "backend": "local", "precision": "float32", "sources": sources}


def test_an_open_local_model_is_an_error_in_the_child(tiny_chat_file: Path) -> None:
    used = architecture(local(tiny_chat_file))
    used.run(QUESTION)
    told = in_child(lambda: used.run(QUESTION).text)
    assert "forked from one that had already loaded a local model" in told
    assert "spawn" in told


def test_the_child_opens_no_other_local_model(tiny_chat_file: Path) -> None:
    architecture(local(tiny_chat_file)).run(QUESTION)
    other = architecture(local(tiny_chat_file) | {"name": "other", "precision": "int8"})
    assert "forked" in in_child(lambda: other.run(QUESTION).text)


def test_the_child_neither_asks_nor_awaits_an_open_local_model(
    tiny_chat_file: Path,
) -> None:
    from archon.lm.local.lm import load
    from archon.spec.model import LocalCard

    lm = load(LocalCard.model_validate(local(tiny_chat_file)), Path())
    request = Request((Message("user", QUESTION),), sampling=SamplingParams(max_tokens=4))
    asyncio.run(lm.generate(request))
    assert "forked" in in_child(lambda: asyncio.run(lm.generate(request)))
    assert in_child(lambda: asyncio.run(lm.aclose())) == "None"
    asyncio.run(lm.aclose())


def test_a_model_that_was_not_open_before_the_fork_is_opened_in_the_child(
    tiny_chat_file: Path,
) -> None:
    """In a new process, since this one has used models."""
    program = """
        import json, multiprocessing, sys
        import archon

        card = json.loads(sys.argv[1])
        nodes = {"n": {"type": "generator", "model": "m", "sampling": {"max_tokens": 4}}}
        spec = {"version": 1, "name": "a", "models": {"m": card}, "nodes": nodes, "output": "n"}
        architecture = archon.load(spec)
        context = multiprocessing.get_context("fork")
        answers = context.Queue()
        child = context.Process(
            target=lambda: answers.put(architecture.run("one").usage.completion_tokens)
        )
        child.start()
        try:
            print(answers.get(timeout=60))
        finally:
            child.kill()
    """
    card = json.dumps(local(tiny_chat_file))
    command = [sys.executable, "-c", textwrap.dedent(program), card]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3 * SECONDS)
    assert done.stdout.strip() == "4", done.stderr


def test_a_scripted_model_gives_the_same_answer_in_the_child() -> None:
    used = architecture({"name": "double", "backend": "scripted"})
    assert in_child(lambda: used.run(QUESTION).text) == used.run(QUESTION).text
    assert in_child(lambda: used.run(QUESTION).text) == used.run(QUESTION).text


def test_a_grandchild_answers_as_well() -> None:
    used = architecture({"name": "double", "backend": "scripted"})
    expected = used.run(QUESTION).text
    assert in_child(lambda: in_child(lambda: used.run(QUESTION).text)) == expected


def test_a_lock_held_during_a_fork_does_not_block_the_child() -> None:
    used = architecture({"name": "double", "backend": "scripted"})
    expected = used.run(QUESTION).text
    other = LazyLM(ScriptedCard(name="double", backend="scripted"), Path())
    with event_loop._shared._lock, other._lock:
        assert in_child(lambda: used.run(QUESTION).text) == expected
        assert in_child(other.open).startswith("<archon.lm.scripted.lm")


def test_a_fork_during_an_answer_affects_neither_process() -> None:
    started, go_on = threading.Event(), threading.Event()

    async def slow() -> str:
        started.set()
        await asyncio.to_thread(go_on.wait)
        return "parent"

    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(event_loop.run_sync(slow())))
    thread.start()
    started.wait(SECONDS)
    used = architecture({"name": "double", "backend": "scripted"})
    assert in_child(lambda: used.run(QUESTION).text)
    go_on.set()
    thread.join(SECONDS)
    assert answers == ["parent"]


class _Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        message = {"role": "assistant", "content": f"from port {self.client_address[1]}"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        content = json.dumps({"choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as serving:
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}/v1"
        serving.shutdown()


def test_the_child_opens_new_connections_to_a_remote_model() -> None:
    with server() as url:
        used = architecture(
            {"name": "r", "backend": "openai", "base_urls": [url], "model": "m", "native_n": True}
        )
        before = used.run(QUESTION).text
        child = in_child(lambda: used.run(QUESTION).text)
        after = used.run(QUESTION).text
    assert child.startswith("from port ")
    assert child not in (before, after)
    assert before == after  # the child has not closed the parent's connection


def test_the_child_does_not_use_the_parent_s_pool(tmp_path: Path) -> None:
    lm = LazyLM(ScriptedCard(name="double", backend="scripted"), Path())
    request = Request((Message("user", QUESTION),))

    async def ask(pool: DrawPool) -> str:
        with pooling(pool, "here"):
            return (await lm.generate(request))[0].text

    with DrawPool(tmp_path / "pool") as pool:
        expected = asyncio.run(ask(pool))

        def child() -> str:
            answer = asyncio.run(ask(pool))
            pool.close()
            return answer

        assert in_child(child) == expected
        assert asyncio.run(ask(pool)) == expected
