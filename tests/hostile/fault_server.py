"""A chat-completions server that answers some requests well and others in every wrong way.

``python tests/hostile/fault_server.py`` prints its address and serves until its standard input
ends. What happens to a request depends on its body alone: most are answered; the others meet one
of the ``FAULTS``, half of them at the first try only, half at every one. Under ``/once/NAME`` every
request meets that fault at its first try and none later. Under ``/odd/NAME/PLACE`` every reply has
that oddity (``oddities``); under ``/odd/none/first`` none. ``GET /counts`` tells how often each was
met.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import oddities
from faults import FAULTS, Exchange

from archon.lm.scripted.heuristic import HeuristicScript
from archon.types import Message, Request

FAULTY_SHARE = 0.25
_PLAUSIBLE = HeuristicScript(0.6)


class FaultServer:
    """What it has been asked, and how it answers."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._tries: Counter[bytes] = Counter()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    Exchange({}, False, writer).send_object(self.counts)
                    continue
                length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
                parts = head.split(b" ")[1].decode().split("/")
                body = await reader.readexactly(int(length))
                if parts[1] == "odd":
                    _serve_oddly(body, writer, *parts[2:4])
                else:
                    once = parts[2] if parts[1] == "once" else None
                    await self._serve(body, writer, once)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _serve(
        self, body: bytes, writer: asyncio.StreamWriter, once: str | None = None
    ) -> None:
        request = json.loads(body)
        exchange = Exchange(_reply(request), bool(request.get("stream")), writer)
        number = int.from_bytes(blake2b(body, digest_size=6).digest(), "big")
        self._tries[body] += 1
        is_lasting, number = number % 2, number // 2
        is_faulty = number % 1000 < 1000 * FAULTY_SHARE and (is_lasting or self._tries[body] == 1)
        name = [*FAULTS][number // 1000 % len(FAULTS)] if is_faulty else "well"
        if once is not None:
            is_faulty = self._tries[once.encode() + body] == 0
            self._tries[once.encode() + body] += 1
            name = once if is_faulty else "well"
        self.counts[name] += 1
        if is_faulty:
            await FAULTS[name](exchange)
        else:
            exchange.answer()


def _serve_oddly(body: bytes, writer: asyncio.StreamWriter, name: str, place: str) -> None:
    """Answer well, but for one oddity."""
    request = json.loads(body)
    exchange = Exchange(_reply(request), bool(request.get("stream")), writer)
    if name == "none":
        exchange.answer()
    elif exchange.streams:
        events = [json.loads(event.removeprefix(b"data: ")) for event in exchange.chunks()]
        exchange.send_events([oddities.stream(events, name, place)])
    else:
        exchange.send_object(oddities.WHOLE[name](exchange.reply))


def _reply(request: dict[str, Any]) -> dict[str, Any]:
    """What the scripted double says, as a chat completion."""
    messages = tuple(Message(m["role"], m["content"]) for m in request["messages"])
    text = _PLAUSIBLE(Request(messages, seed=request["seed"]), 0)
    usage = {"prompt_tokens": 20, "completion_tokens": len(text.split())}
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return {"object": "chat.completion", "choices": [choice], "usage": usage}


async def serve() -> None:
    """Serve until standard input ends."""
    server = await asyncio.start_server(FaultServer().handle, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)


@contextmanager
def fault_server() -> Iterator[str]:
    """The address of a server in a process of its own, until the block ends."""
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


if __name__ == "__main__":
    asyncio.run(serve())
