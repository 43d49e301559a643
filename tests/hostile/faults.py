"""What servers do wrong: each fault is a function that spoils the reply to one request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True)
class Exchange:
    """A request, its good reply, and the wire that the reply goes over."""

    reply: Object
    """A chat completion of one choice."""
    streams: bool
    writer: asyncio.StreamWriter

    @property
    def text(self) -> str:
        return str(self.reply["choices"][0]["message"]["content"])

    def chunks(self, reason: str | None = "stop") -> list[bytes]:
        """The events of the good reply; without a reason the text does not end."""
        words = [f"{word} " for word in self.text.split()]
        deltas = [{"role": "assistant"}, *({"content": word} for word in words)]
        choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        if reason is not None:
            choices.append({"index": 0, "delta": {}, "finish_reason": reason})
        events: list[Object] = [{"choices": [choice]} for choice in choices]
        events.append({"choices": [], "usage": self.reply["usage"]})
        return [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]

    def head(self, kind: str, length: int | None, status: int = 200, **headers: str) -> None:
        """Status and headers; without a length the body ends with the connection."""
        lines = [f"HTTP/1.1 {status} Whatever", f"content-type: {kind}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        lines.append("connection: close" if length is None else f"content-length: {length}")
        self.writer.write("\r\n".join([*lines, "\r\n"]).encode())

    def send(self, body: bytes, kind: str = "application/json", **head: Any) -> None:
        self.head(kind, len(body), **head)
        self.writer.write(body)

    def send_object(self, body: object, **head: Any) -> None:
        self.send(json.dumps(body).encode(), **head)

    def send_events(self, events: list[bytes]) -> None:
        self.head("text/event-stream", None)
        self.writer.write(b"".join(events))
        self.writer.close()

    def answer(self) -> None:
        """The good reply."""
        if self.streams:
            self.send_events([*self.chunks(), b"data: [DONE]\n\n"])
        else:
            self.send_object(self.reply)

    def answer_with(self, **changes: Any) -> None:
        """The good reply with other values of some keys; never streamed, as some servers do."""
        self.send_object({**self.reply, **changes})


Fault = Callable[[Exchange], Awaitable[None]]
FAULTS: dict[str, Fault] = {}
HARMLESS = frozenset({"usage_lies", "stream_without_done", "slow"})
"""What costs no answer."""
GARBLED = (
    "html_with_status_200", "cut_json", "cut_body", "no_json", "deep_json", "wrong_type",
    "no_choices", "no_message", "choice_of_nothing",
)  # fmt: skip
"""Replies with status 200 that are none, which another try may mend."""


def fault(function: Fault) -> Fault:
    FAULTS[function.__name__] = function
    return function


def error(message: str) -> Object:
    return {"error": {"message": message, "type": "server_error", "code": None}}


# -------------------------------------------------------------------------- refusals by status


@fault
async def busy(exchange: Exchange) -> None:
    exchange.send_object(error("too many requests"), status=429)


@fault
async def busy_for_a_moment(exchange: Exchange) -> None:
    exchange.send_object(error("too many requests"), status=429, retry_after="0.05")


@fault
async def busy_for_hours(exchange: Exchange) -> None:
    exchange.send_object(error("quota"), status=429, retry_after="7200")


@fault
async def failing(exchange: Exchange) -> None:
    exchange.send_object(error("out of memory"), status=500)


@fault
async def html_page(exchange: Exchange) -> None:
    exchange.send(b"<html><body>Bad gateway</body></html>", "text/html", status=502)


@fault
async def html_with_status_200(exchange: Exchange) -> None:
    exchange.send(b"<html><body>Please log in</body></html>", "text/html")


@fault
async def redirect(exchange: Exchange) -> None:
    exchange.send(b"", status=307, location="http://127.0.0.1:9/elsewhere")


@fault
async def redirect_to_itself(exchange: Exchange) -> None:
    exchange.send(b"", status=301, location="/v1/chat/completions")


# --------------------------------------------------------------------------- broken connections


@fault
async def reset(exchange: Exchange) -> None:
    exchange.writer.transport.abort()


@fault
async def reset_in_the_body(exchange: Exchange) -> None:
    exchange.head("application/json", 1000)
    exchange.writer.write(b'{"choices": [')
    await exchange.writer.drain()
    exchange.writer.transport.abort()


@fault
async def no_http(exchange: Exchange) -> None:
    exchange.writer.write(b"\x00\xff\x15\x03\x01 what?\r\n\r\n")
    exchange.writer.close()


@fault
async def endless_headers(exchange: Exchange) -> None:
    exchange.writer.write(b"HTTP/1.1 200 OK\r\n" + b"x-more: and more\r\n" * 20_000)
    exchange.writer.close()


@fault
async def never(exchange: Exchange) -> None:
    await asyncio.sleep(60)


@fault
async def never_after_the_head(exchange: Exchange) -> None:
    exchange.head("application/json", 1000)
    await exchange.writer.drain()
    await asyncio.sleep(60)


@fault
async def drip(exchange: Exchange) -> None:
    body = json.dumps(exchange.reply).encode()
    exchange.head("application/json", len(body))
    for byte in body:
        exchange.writer.write(bytes([byte]))
        await exchange.writer.drain()
        await asyncio.sleep(0.1)


@fault
async def slow(exchange: Exchange) -> None:
    await asyncio.sleep(0.05)
    exchange.answer()


# -------------------------------------------------------------------------------- broken bodies


@fault
async def cut_json(exchange: Exchange) -> None:
    exchange.send(json.dumps(exchange.reply).encode()[:-20])


@fault
async def cut_body(exchange: Exchange) -> None:
    body = json.dumps(exchange.reply).encode()
    exchange.head("application/json", len(body))
    exchange.writer.write(body[:-20])
    exchange.writer.close()


@fault
async def no_json(exchange: Exchange) -> None:
    exchange.send(b"\xff\xfe{'choices': None}")


@fault
async def deep_json(exchange: Exchange) -> None:
    exchange.send(b'{"choices":' + b"[" * 200_000)


@fault
async def wrong_type(exchange: Exchange) -> None:
    exchange.send(json.dumps(exchange.reply).encode(), "image/png")


@fault
async def no_events_asked_for(exchange: Exchange) -> None:
    exchange.head("text/event-stream", None)
    exchange.writer.write(b": nothing\n\n" * 3)
    exchange.writer.close()


@fault
async def huge_body(exchange: Exchange) -> None:
    exchange.head("application/json", 40 * 2**20)
    for _ in range(40):
        exchange.writer.write(b" " * 2**20)
        await exchange.writer.drain()


@fault
async def huge_text(exchange: Exchange) -> None:
    [choice] = exchange.reply["choices"]
    message = {"role": "assistant", "content": "So the answer is 1. " * 200_000}
    exchange.answer_with(choices=[{**choice, "message": message}])


@fault
async def error_with_status_200(exchange: Exchange) -> None:
    exchange.send_object(error("the model is loading"))


# ------------------------------------------------------------------------------- broken choices


@fault
async def no_choices(exchange: Exchange) -> None:
    exchange.answer_with(choices=[])


@fault
async def too_many_choices(exchange: Exchange) -> None:
    [choice] = exchange.reply["choices"]
    exchange.answer_with(choices=[choice, {**choice, "index": 1}])


@fault
async def no_message(exchange: Exchange) -> None:
    exchange.answer_with(choices=[{"index": 0, "message": None, "finish_reason": "stop"}])


@fault
async def choice_of_nothing(exchange: Exchange) -> None:
    exchange.answer_with(choices=[None])


@fault
async def usage_lies(exchange: Exchange) -> None:
    lies: list[object] = [None, -5, 10**30, "many", 1e308, [], {"n": 1}, True]
    lie = lies[len(exchange.text) % len(lies)]
    usage: object = {"prompt_tokens": lie, "completion_tokens": lie, "prompt_tokens_details": lie}
    exchange.answer_with(usage=lie if len(exchange.text) % 2 else usage)


# ------------------------------------------------------------------------------- broken streams


@fault
async def stream_without_done(exchange: Exchange) -> None:
    if exchange.streams:
        exchange.send_events(exchange.chunks())
    else:
        exchange.answer()


@fault
async def stream_without_end(exchange: Exchange) -> None:
    exchange.send_events(exchange.chunks(None))


@fault
async def stream_of_nonsense(exchange: Exchange) -> None:
    exchange.send_events([exchange.chunks()[0], b"data: {oops\n\n", b"data: [DONE]\n\n"])
