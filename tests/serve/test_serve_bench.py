"""``archon bench serve``, and its clients with good and bad servers."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_lines import with_options
from serve_process import Served, serving

from archon.bench.serve import server_process
from archon.bench.serve.client import Answers, Load, run
from archon.cli import main

MODEL = ["--model", "./tiny.json"]
SMALL = [
    "--num-prompts", "2", "--samples-per-prompt", "2", "--prompt-tokens", "300",
    "--shared-prefix-tokens", "200", "--new-tokens", "8", "--seconds", "0.2", "--rounds", "1",
]  # fmt: skip
Bench = Callable[..., int]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_chat_file: Path) -> Bench:
    """The command on a tiny model, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    card = {"name": "tiny", "backend": "local", "sources": [{"path": str(tiny_chat_file)}]}
    Path("tiny.json").write_text(json.dumps({**card, "precision": "float32"}))
    return lambda *arguments: main(["bench", "serve", *with_options(MODEL, arguments)])


def test_a_server_is_measured_against_its_engine(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(*SMALL, "--max-requests", "8", "--json") == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert "streamed" in err
    assert (result["num_clients"], result["rounds"], result["interrupted"]) == (4, 1, False)
    assert result["checked_texts"] == 8
    assert result["failures"] == []
    for row in result["loads"].values():
        assert 4 <= row["requests"] <= 8
        assert row["completion_tokens"] > 0
        assert row["ratio"] > 0
        assert row["ratio_deducted"] >= row["ratio"]
    assert result["loads"]["engine"]["ratio"] == 1
    assert result["first_token"]["loaded"]["p50"]["ratio"] > 0
    if Path("/proc/self/statm").exists():
        assert all(noted["bytes"] > 1_000_000 for noted in result["server_memory"])
        assert len(result["server_memory"]) >= 2
        assert result["loads"]["whole"]["cpu_ratio"] > 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["--shared-prefix-tokens", "700"],
            "--shared-prefix-tokens must be at most --prompt-tokens",
        ),
        (["--prompt-tokens", "3", "--shared-prefix-tokens", "0"], "--prompt-tokens must be at"),
        (["--model", "scripted"], "has no weights on this machine"),
        (["--seconds", "0"], "--seconds"),
    ],
)
def test_bad_options_are_reported(
    bench: Bench, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    assert bench(*arguments) == 2
    assert reason in capsys.readouterr().err


def test_a_server_that_does_not_start_is_reported(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_process, "architecture", lambda sampling: {"nonsense": 1})
    assert bench(*SMALL) == 1
    assert "the server did not start" in capsys.readouterr().err


def test_a_server_does_not_outlive_its_measurement(bench: Bench, tmp_path: Path) -> None:
    endless = with_options([*MODEL, *SMALL], ["--rounds", "10000", "--json"])
    command = [sys.executable, "-m", "archon", "bench", "serve", *endless]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        assert "round 1" in running.stderr.readline()
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
        if not children.exists():
            running.kill()
            pytest.skip("the system does not tell a process's children")
        pids = children.read_text().split()
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=120)
    assert running.returncode == 130, err
    result = json.loads(out)
    assert result["interrupted"]
    assert result["rounds"] >= 1
    assert "Traceback" not in err
    assert pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


# ------------------------------------------------------------------------------------ the clients


def load(address: str, model: str, **values: Any) -> Load:
    host, _, port = address.removeprefix("http://").partition(":")
    asks = [(f"What is {number} + 1?", number) for number in range(20)]
    settings: dict[str, Any] = {"num_clients": 3, "seconds": 60, "streams": False, "asks": asks}
    return Load(host, int(port), model, **settings | values)


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of a scripted model that needs no key."""
    with serving("scripted", key=None, log=tmp_path_factory.mktemp("open") / "log") as served:
        yield served


@pytest.mark.parametrize("streams", [False, True])
async def test_clients_send_every_request_once_and_count_the_answers(
    open_server: Served, streams: bool
) -> None:
    answers = await run(load(open_server.address, "scripted", streams=streams), keep_texts=2)
    assert answers.failures == []
    assert answers.num_answers == 20
    assert answers.completion_tokens > 0
    assert sorted(answers.texts) == [0, 1]
    assert all(answers.texts.values())
    assert len(answers.first_token_seconds) == (20 if streams else 0)
    assert all(0 < seconds < answers.seconds for seconds in answers.first_token_seconds)


async def test_streamed_and_plain_answers_have_the_same_texts(open_server: Served) -> None:
    whole, streamed = [
        await run(load(open_server.address, "scripted", streams=streams), keep_texts=20)
        for streams in (False, True)
    ]
    assert whole.texts == streamed.texts
    assert whole.completion_tokens == streamed.completion_tokens


@pytest.mark.parametrize("streams", [False, True])
async def test_a_rejected_request_is_a_failure(open_server: Served, streams: bool) -> None:
    answers = await run(load(open_server.address, "nobody", streams=streams))
    assert len(answers.failures) == 20
    assert "404" in answers.failures[0]
    assert (answers.num_answers, answers.completion_tokens) == (0, 0)


async def test_no_request_starts_after_the_time_is_over(open_server: Served) -> None:
    answers = await run(load(open_server.address, "scripted", seconds=0))
    assert (answers.num_answers, answers.failures) == (0, [])


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def ask_of(content: bytes, streams: bool) -> Answers:
    """Return the answers of a server that sends the same bytes to every client and hangs up."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(content)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await run(load(f"http://127.0.0.1:{port}", "m", streams=streams))


EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


@pytest.mark.parametrize(
    ("content", "streams"),
    [
        (b"", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", True),
        (b"HTTP/1.1 200 OK\r\n\r\n", False),
        (EVENTS, True),
        (EVENTS + b"0\r\n\r\n", True),
        (EVENTS + b"b\r\ndata: {}\n\n\r\n", True),
        (EVENTS + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n", True),
    ],
)
async def test_an_incomplete_answer_is_a_failure(content: bytes, streams: bool) -> None:
    answers = await ask_of(content, streams)
    assert (answers.num_answers, len(answers.failures)) == (0, 20)
