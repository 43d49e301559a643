"""Concurrent clients of one server. Each sends its next request after an answer.

``python -m archon.bench.serve.client`` reads one JSON object (``Load``) from standard input and
prints one (``Answers``). Its HTTP client is minimal, because the clients compete with the server
for CPU time.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

from archon.lm.openai.sse import DONE, EventParser

_LIMIT = 1 << 20
"""Maximum bytes of a line or a header."""


@dataclass(frozen=True, slots=True)
class Load:
    """The requests that the clients send, and where they send them."""

    host: str
    port: int
    model: str
    num_clients: int
    seconds: float
    """Seconds after which no new request starts."""
    streams: bool
    asks: list[tuple[str, int]]
    """(question, seed) of each request, in the order of sending."""


@dataclass(slots=True)
class Answers:
    """Totals over the answers to a load. A failed request counts only in ``failures``."""

    seconds: float = 0.0
    """Time from the first request to the end of the last answer."""
    client_cpu_seconds: float = 0.0
    """CPU time of the clients' process."""
    model_cpu_seconds: float | None = None
    """CPU time of the process with the model; None if the system does not report it."""
    completion_tokens: int = 0
    """Number of completion tokens, as counted by the server."""
    num_answers: int = 0
    first_token_seconds: list[float] = field(default_factory=list)
    """Seconds to the first token, for each streamed answer that has text."""
    texts: dict[int, str] = field(default_factory=dict)
    """Index of a request → text of its answer, for the first ``keep_texts`` requests."""
    failures: list[str] = field(default_factory=list)


class _FailedError(Exception):
    """A request got no complete answer."""


async def run(load: Load, keep_texts: int = 0) -> Answers:
    """Send requests until the time is over or none are left, and wait for the last answers."""
    answers = Answers()
    numbered = iter(enumerate(load.asks))
    start, cpu_start = perf_counter(), _cpu_seconds()
    deadline = start + load.seconds
    async with asyncio.TaskGroup() as group:
        for _ in range(load.num_clients):
            group.create_task(_client(load, numbered, deadline, answers, keep_texts))
    answers.seconds = perf_counter() - start
    answers.client_cpu_seconds = _cpu_seconds() - cpu_start
    return answers


async def _client(
    load: Load,
    numbered: Iterator[tuple[int, tuple[str, int]]],
    deadline: float,
    answers: Answers,
    keep_texts: int,
) -> None:
    connection = _Connection(load.host, load.port)
    try:
        while perf_counter() < deadline:
            number, ask = next(numbered, (-1, None))
            if ask is None:
                return
            try:
                text = await connection.ask(_body(load, *ask), load.streams, answers)
                if number < keep_texts:
                    answers.texts[number] = text
            except (_FailedError, OSError, EOFError, ValueError, LookupError, TypeError) as error:
                answers.failures.append(f"{type(error).__name__}: {error}"[:200])
                connection.close()
    finally:
        connection.close()


def _body(load: Load, question: str, seed: int) -> bytes:
    messages = [{"role": "user", "content": question}]
    body: dict[str, Any] = {"model": load.model, "messages": messages, "seed": seed}
    if load.streams:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(body).encode()


class _Connection:
    """The connection of one client, which its first request opens."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}:{port}\r\n"
            "content-type: application/json\r\ncontent-length: "
        ).encode()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def ask(self, body: bytes, streams: bool, answers: Answers) -> str:
        """Send a request, and add its figures to ``answers``; return the text of the answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, limit=_LIMIT)
        reader, writer = self._streams
        start = perf_counter()
        writer.write(self._head + str(len(body)).encode() + b"\r\n\r\n" + body)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not streams or b"text/event-stream" not in head:
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            content = await reader.readexactly(length)
            if head[9:12] != b"200" or streams:
                raise _FailedError(f"{head[:12].decode()}: {content[:120].decode()}")
            reply = json.loads(content)
            text: str = reply["choices"][0]["message"]["content"]
        else:
            text, reply, first = await _read_stream(reader)
            if first is not None:
                answers.first_token_seconds.append(first - start)
        answers.completion_tokens += reply["usage"]["completion_tokens"]
        answers.num_answers += 1
        return text


async def _read_stream(
    reader: asyncio.StreamReader,
) -> tuple[str, dict[str, Any], float | None]:
    """Read a streamed answer; return its text, last chunk, and time of the first text."""
    parser, events, first = EventParser(), list[bytes](), None
    while size := int(await reader.readline(), 16):
        content = (await reader.readexactly(size + 2))[:-2]
        new = parser.feed(content)
        events += new
        if first is None and any(_text(event) for event in new):
            first = perf_counter()
    await reader.readline()
    if len(events) < 2 or events[-1] != DONE:
        raise _FailedError(f"the stream is incomplete: {events[-1][:120].decode()}")
    return "".join(map(_text, events)), json.loads(events[-2]), first


def _text(event: bytes) -> str:
    if event == DONE:
        return ""
    choices = json.loads(event)["choices"]
    return choices[0]["delta"].get("content") or "" if choices else ""


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system


def main() -> None:
    """Read a load from standard input, and print its answers."""
    message = json.loads(sys.stdin.readline())
    keep_texts = message.pop("keep_texts")
    try:
        answers = asyncio.run(run(Load(**message), keep_texts))
    except KeyboardInterrupt:
        sys.exit(130)
    print(json.dumps(asdict(answers)))


if __name__ == "__main__":
    main()
