"""A model behind any server that speaks the OpenAI chat-completions protocol.

Draws. Each draw is a request of its own with its own seed, made from the request's seed, the prompt
and the draw's number, so that draw k is the same however many are asked for, as far as the server
honours seeds. With the card's ``native_n`` one request brings all draws under the seed of the
first, and draw k then depends on where its request began.

Usage is the server's own count; what it does not count, or counts absurdly, is 0. With ``native_n``
each draw counts the whole prompt, and the completion tokens, which come as one sum, are divided
evenly. Prompts are named by a digest of their text: the server's tokens are not known.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import httpx

from archon.errors import LMError, UsageError
from archon.lm.base import check_request
from archon.lm.concurrency import Gauge, PerLoop, run_all
from archon.lm.digest import draw_number, prompt_digest, request_digest
from archon.lm.keys import key_from
from archon.lm.protocol import Reply, read_chunk, read_reply, request_body
from archon.lm.replicas import Replica, Replicas
from archon.lm.retry import Backoff, Clock, retrying
from archon.lm.transport import (
    BusyError,
    Transport,
    UnreachableError,
    content_type,
    read_body,
    read_events,
)
from archon.spec.model import OpenAICard
from archon.types import (
    DEFAULT_SAMPLING,
    Completion,
    ModelStatus,
    OnEvent,
    Request,
    SamplingParams,
    TokenDelta,
    Usage,
    total_usage,
)

_VERSION = 1
"""Changes with what is sent for a request, so that no other reply is found in a pool."""
_SEED_BITS = 31  # some servers keep seeds in 32 bits with a sign


class RemoteLM:
    """Asks the servers of a card; usable from several event loops.

    ``timeout_seconds`` of the card runs for each draw from the moment when one of the
    ``max_concurrency`` places is free for it, retries included. Connections belong to the event
    loop that made them: call ``aclose`` in it.

    Parameters
    ----------
    card : the model.
    api_key : sent as a bearer token.
    clock, backoff : time, chance, and the pace of retries.
    http : stands in for the network in tests.
    """

    def __init__(
        self,
        card: OpenAICard,
        *,
        api_key: str | None = None,
        clock: Clock | None = None,
        backoff: Backoff | None = None,
        http: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.card = card
        self.capabilities = frozenset(
            {"chat", "stream", "logprobs"} if card.logprobs else {"chat", "stream"}
        )
        own = SamplingParams() if card.sampling is None else card.sampling.params()
        self._sampling = own.over(DEFAULT_SAMPLING)
        self._clock = clock or Clock()
        self._backoff = backoff or Backoff()
        self._slots = PerLoop(lambda: asyncio.Semaphore(card.max_concurrency))
        self._waiting, self._running, self._generated_tokens = Gauge(), Gauge(), Gauge()
        self._transport = Transport(
            card.base_urls,
            api_key,
            keep_alive=card.max_concurrency,
            clock=self._clock,
            http=http,
        )
        self._replicas = Replicas(self._transport.urls, self._clock)

    def __repr__(self) -> str:
        return f"RemoteLM({self.card.model!r} at {', '.join(self.card.base_urls)})"

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Ask for every draw at once, as far as there are free places.

        Raises
        ------
        LMError : a draw failed for good; the other draws are cancelled.
        """
        request = replace(request, sampling=request.sampling.over(self._sampling))
        check_request(request, self.capabilities, self.card.name)
        draws = range(request.first_draw, request.first_draw + request.n)
        if self.card.native_n or request.n == 1:
            return await self._ask(request, draws, on_event)
        groups = await run_all(
            self._ask(request, range(draw, draw + 1), on_event) for draw in draws
        )
        return [completion for group in groups for completion in group]

    def status(self) -> ModelStatus:
        """How many calls are under way; see ``archon.lm.base.status_of``."""
        return ModelStatus(
            "calling",
            num_running=self._running.value,
            num_waiting=self._waiting.value,
            generated_tokens=self._generated_tokens.value,
        )

    def draw_key(self, request: Request) -> str | None:
        """See ``archon.lm.base.Keyed``; None with ``native_n``, where draws come together."""
        if self.card.native_n:
            return None
        request = replace(request, sampling=request.sampling.over(self._sampling))
        prompt = prompt_digest(self.card.model, request.messages)
        model = ["openai", _VERSION, sorted(self.card.base_urls), self.card.model]
        return request_digest(model, prompt, request)

    async def aclose(self) -> None:
        """Close the connections that belong to the running event loop."""
        await self._transport.aclose()

    async def _ask(
        self, request: Request, draws: range, on_event: OnEvent | None
    ) -> list[Completion]:
        """Post one request for these draws, as often as it takes."""
        sampling = request.sampling
        prompt = prompt_digest(self.card.model, request.messages)
        seed, draw = (0, 0) if sampling.temperature == 0 else (request.seed, draws.start)
        body = request_body(
            self.card.model,
            request.messages,
            sampling,
            seed=draw_number(prompt, seed, draw, bits=_SEED_BITS),
            n=len(draws) if len(draws) > 1 else None,
            logprobs=True if request.logprobs else None,
            stream=None if on_event is None else True,
            stream_options=None if on_event is None else {"include_usage": True},
        )
        content = json.dumps(body, allow_nan=False).encode()
        slots = self._slots.get()
        with self._waiting.one_more():
            await slots.acquire()
        try:
            with self._running.one_more():
                reply = await retrying(
                    lambda: self._attempt(content, draws, on_event),
                    name=self.card.name,
                    timeout_seconds=self.card.timeout_seconds,
                    backoff=self._backoff,
                    clock=self._clock,
                )
        finally:
            slots.release()
        completions = _completions(reply, draws, request.logprobs, prompt)
        self._generated_tokens.add(total_usage(completions).generated_tokens)
        return completions

    async def _attempt(self, body: bytes, draws: range, on_event: OnEvent | None) -> Reply:
        """One try: replicas are asked one after another until one answers or text has come."""
        deltas = None if on_event is None else _Deltas(on_event, draws)
        tried: list[Replica] = []
        while True:
            with self._replicas.one(tried) as replica:
                tried.append(replica)
                try:
                    return await self._ask_replica(replica, body, len(draws), deltas)
                except LMError as error:
                    has_begun = deltas is not None and deltas.has_begun
                    may_ask_again = error.retryable and not has_begun
                    failure = self._transport.told(error, replica.url, retryable=may_ask_again)
            if not may_ask_again or len(tried) == len(self._replicas.all):
                raise failure

    async def _ask_replica(
        self, replica: Replica, body: bytes, num_choices: int, deltas: _Deltas | None
    ) -> Reply:
        """The reply of one server, whose health is noted."""
        started = self._clock.monotonic()
        try:
            async with self._transport.post(replica.url, body) as response:
                reply = await _read(response, num_choices, deltas)
        except LMError as error:
            if error.retryable and not isinstance(error, BusyError):
                self._replicas.failed(replica, at_once=isinstance(error, UnreachableError))
            raise
        except asyncio.CancelledError:
            if self._clock.monotonic() - started >= self.card.timeout_seconds:
                self._replicas.failed(replica)  # it took all the time there was
            raise
        self._replicas.did_well(replica)
        return reply


class _Deltas:
    """Passes text on as events. Once some is sent it cannot be taken back by another try."""

    def __init__(self, on_event: OnEvent, draws: range) -> None:
        self.has_begun = False
        self._on_event, self._draws = on_event, draws

    def send(self, index: int, text: str) -> None:
        self.has_begun = True
        self._on_event(TokenDelta(self._draws[index], text))


async def _read(response: httpx.Response, num_choices: int, deltas: _Deltas | None) -> Reply:
    """The reply in full; a server that does not stream although asked to sends one delta."""
    kind = content_type(response)
    if kind == "application/json":
        reply = read_reply(await read_body(response), num_choices)
        for index, choice in enumerate(reply.finished()):
            if deltas is not None and choice.text:
                deltas.send(index, choice.text)
        return reply
    if kind != "text/event-stream" or deltas is None:
        raise LMError(f"the reply is of the type {kind!r}, not application/json")
    reply = Reply(num_choices)

    def handle(event: bytes) -> None:
        for index, text in read_chunk(reply, event):
            deltas.send(index, text)

    await read_events(response, handle)
    reply.finished()
    return reply


def _completions(reply: Reply, draws: range, logprobs: bool, prompt: str) -> list[Completion]:
    share, rest = divmod(reply.completion_tokens, len(draws))
    completions = []
    for index, (draw, choice) in enumerate(zip(draws, reply.finished(), strict=True)):
        assert choice.finish_reason is not None
        if logprobs and choice.text and not choice.logprobs:
            raise LMError("the server sent no log-probabilities, although its card promises them")
        num_tokens = share + (index < rest)
        usage = Usage(
            prompt_tokens=reply.prompt_tokens,
            cached_tokens=reply.cached_tokens,
            completion_tokens=num_tokens,
            generated_tokens=num_tokens,
            calls=1,
        )
        completions.append(
            Completion(
                text=choice.text,
                draw=draw,
                finish_reason=choice.finish_reason,
                usage=usage,
                prompts={prompt: reply.prompt_tokens},
                logprobs=tuple(choice.logprobs) if logprobs else None,
            )
        )
    return completions


# ----------------------------------------------------------------------------------- from a card


def open_remote(card: OpenAICard, base_dir: Path | None = None) -> RemoteLM:
    """The model of a card, with the key that its environment variable holds.

    Raises
    ------
    UsageError : the variable is not set or holds no key; an address is none, or has a password.
    """
    for number, url in enumerate(card.base_urls):
        if not _is_plain_address(url):
            raise UsageError(
                f"model {card.name!r}: base_urls[{number}] is not an address of scheme, host and "
                "path alone; a key belongs into the environment variable named by 'api_key_env'"
            )
    return RemoteLM(card, api_key=None if card.api_key_env is None else key_from(card.api_key_env))


def _is_plain_address(url: str) -> bool:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return bool(parsed.host) and not (parsed.userinfo or parsed.query or parsed.fragment)
