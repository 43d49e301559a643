"""A model behind any server that speaks the OpenAI protocol.

Draws. Each draw is a request of its own with its own seed, made from the request's seed, the prompt
and the draw's number, so that draw k is the same however many are asked for, as far as the server
honours seeds. With the card's ``native_n`` one request brings all draws under the seed of the
first, and draw k then depends on where its request began.

One bad reply loses one sample: where others of the request succeed, a sample that failed for good
is returned with its error (``Completion.error``).

Usage is the server's own count; what it does not count, or counts absurdly, is 0, which is noted on
the sample. With ``native_n`` each draw counts the whole prompt, and the completion tokens, which
come as one sum, are divided evenly. Prompts are named by a digest of their text: the server's
tokens are not known.

A field that the server rejects is an error that names the key of the card which helps, or is left
out with a note and a warning (``archon.lm.openai.adaptation``).

A form that a text must have is sent in the words that the card's ``constraint`` names, and a reply
that was to be JSON and is none is an error. How judges, which argue before the form begins, are
held to it is told in ``archon.lm.openai.structured_output``; where that makes an object of
the text, it is not streamed.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import httpx

from archon.errors import LMError, UsageError
from archon.lm.base import check_request
from archon.lm.cache_keys import draw_number, prompt_digest, request_digest
from archon.lm.concurrency import Gauge, PerLoop, run_all
from archon.lm.factory import capabilities
from archon.lm.keys import header_from, key_from
from archon.lm.openai.adaptation import as_card_says
from archon.lm.openai.failed import Failures
from archon.lm.openai.load_balancer import Replica, Replicas
from archon.lm.openai.payload import is_wrapped, request_body
from archon.lm.openai.received import Deltas, completions_of, receive
from archon.lm.openai.response import Reply, ReportedError
from archon.lm.openai.server_hints import hint
from archon.lm.openai.transport import (
    BusyError,
    FieldError,
    Transport,
    UnreachableError,
    field_error,
)
from archon.lm.reasoning import separated
from archon.lm.retry import Backoff, Clock, retrying
from archon.spec.model import FromVariable, OpenAICard
from archon.types import (
    DEFAULT_SAMPLING,
    Completion,
    ModelStatus,
    OnEvent,
    Request,
    SamplingParams,
    TokenDelta,
    total_usage,
)

logger = logging.getLogger("archon.lm")

_VERSION = 1
"""Changes with what is sent for a request, so that no other reply is found in a pool."""
_SEED_BITS = 31  # some servers keep seeds in 32 bits with a sign
_PATHS = {"chat": "chat/completions", "completions": "completions"}
_MAX_TOKEN_CHARACTERS = 1000
"""More than any token stands for, so that a text beyond it was not asked for."""


class RemoteLM:
    """Asks the servers of a card; usable from several event loops.

    ``timeout_seconds`` of the card runs for each draw from the moment when one of the
    ``max_concurrency`` places is free for it, retries included. Connections belong to the event
    loop that made them: call ``aclose`` in it.

    Parameters
    ----------
    card : the model.
    api_key : sent as a bearer token.
    secret_headers : headers to add to those that the card holds; no error shows their values.
    clock, backoff : time, chance, and the pace of retries.
    http : stands in for the network in tests.
    """

    def __init__(
        self,
        card: OpenAICard,
        *,
        api_key: str | None = None,
        secret_headers: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        backoff: Backoff | None = None,
        http: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.card = card
        self.capabilities = capabilities(card)
        own = SamplingParams() if card.sampling is None else card.sampling.params()
        self._sampling = own.over(DEFAULT_SAMPLING)
        self._thinking = card.thinking_params()
        self.reasoning_markers = card.markers()
        self._clock = clock or Clock()
        self._backoff = backoff or Backoff()
        self._adaptation = as_card_says(card)
        self._warned: set[str] = set()
        self._slots = PerLoop(lambda: asyncio.Semaphore(card.max_concurrency))
        self._waiting, self._running, self._generated_tokens = Gauge(), Gauge(), Gauge()
        written = {name: value for name, value in card.headers.items() if isinstance(value, str)}
        secret = dict(secret_headers or {})
        self._transport = Transport(
            card.base_urls,
            _PATHS[card.endpoint],
            api_key,
            keep_alive=card.max_concurrency,
            clock=self._clock,
            headers=written | secret,
            secrets=list(secret.values()),
            trust_env=card.trust_env,
            http=http,
        )
        self._replicas = Replicas(self._transport.urls, self._clock)

    def __repr__(self) -> str:
        return f"RemoteLM({self.card.model!r} at {', '.join(self.card.base_urls)})"

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Ask for every sample at once, as far as there are free places.

        Raises
        ------
        LMError : every sample failed for good.
        RefusedError : the server refuses every request. The other samples are cancelled, except
            after a status of 403 or 404, which may concern one sample.
        """
        request = self._filled_in(request)
        check_request(request, self.capabilities, self.card.name)
        return await separated(
            self._generate,
            request,
            on_event,
            self.reasoning_markers,
            splits_forms=True,
            hides_start=self.card.thinking_field == "chat_template_kwargs",
        )

    def _filled_in(self, request: Request) -> Request:
        """The request with the card's values where it leaves them open."""
        return replace(
            request,
            sampling=request.sampling.over(self._sampling),
            thinking=request.thinking.over(self._thinking),
        )

    async def _generate(self, request: Request, on_event: OnEvent | None) -> list[Completion]:
        draws = range(request.first_draw, request.first_draw + request.n)
        if self.card.native_n or request.n == 1:
            return await self._ask(request, draws, on_event)
        failures = Failures()

        async def one(draw: int) -> list[Completion]:
            only = range(draw, draw + 1)
            return await failures.kept(lambda: self._ask(request, only, on_event), only)

        groups = await run_all(map(one, draws))
        completions = [completion for group in groups for completion in group]
        failures.check(completions)
        return completions

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
        request = self._filled_in(request)
        prompt = prompt_digest(self.card.model, request.messages)
        card = self.card
        model = ["openai", _VERSION, sorted(card.base_urls), card.model]
        if card.endpoint != "chat" or card.server_sampling:
            model += [card.endpoint, card.server_sampling]
        if changes := self._changes_of_samples():
            model.append(changes)
        form = request.constraint
        if form is not None and form.after is not None:
            model.append(card.constraint)
        if request.thinking.key is not None:
            model.append(card.thinking_field)
        return request_digest(model, prompt, request, self.reasoning_markers)

    def _changes_of_samples(self) -> dict[str, object]:
        """What else of the card, and of what the server was found to reject, changes samples."""
        card = self.card
        omitted = {*card.omit} - {"seed", "stream_options"}
        if self._adaptation.max_tokens_field is None:
            omitted.add("max_tokens")
        headers = {
            name.lower(): {"env": value.env} if isinstance(value, FromVariable) else value
            for name, value in card.headers.items()
        }
        changes = {"omit": sorted(omitted), "headers": headers, "body": card.body}
        return {name: value for name, value in changes.items() if value}

    async def aclose(self) -> None:
        """Close the connections that belong to the running event loop."""
        await self._transport.aclose()

    async def _ask(
        self, request: Request, draws: range, on_event: OnEvent | None
    ) -> list[Completion]:
        """Post one request for these draws, as often as it takes."""
        sampling = request.sampling
        prompt = prompt_digest(self.card.model, request.messages)
        wrapped = is_wrapped(self.card, request.constraint)
        listener = None if wrapped else on_event
        seed, draw = (0, 0) if sampling.temperature == 0 else (request.seed, draws.start)
        number = draw_number(prompt, seed, draw, bits=_SEED_BITS)
        slots = self._slots.get()
        with self._waiting.one_more():
            await slots.acquire()
        try:
            with self._running.one_more():
                reply = await retrying(
                    lambda: self._adapted(request, number, draws, listener),
                    name=self.card.name,
                    timeout_seconds=self.card.timeout_seconds,
                    backoff=self._backoff,
                    clock=self._clock,
                )
        finally:
            slots.release()
        completions = completions_of(
            reply, draws, request, prompt, is_wrapped=wrapped, markers=self.reasoning_markers
        )
        for note in (note for completion in completions for note in completion.notes):
            self._warn(note)
        notes = tuple(note for note, _ in self._adaptation.changes(self.card))
        completions = [
            c if c.error is not None else replace(c, notes=c.notes + notes) for c in completions
        ]
        if wrapped and on_event is not None:
            for completion in completions:
                if completion.reasoning:
                    on_event(TokenDelta(completion.draw, completion.reasoning, is_reasoning=True))
                if completion.text:
                    on_event(TokenDelta(completion.draw, completion.text))
        self._generated_tokens.add(total_usage(completions).generated_tokens)
        return completions

    async def _adapted(
        self, request: Request, seed: int, draws: range, on_event: OnEvent | None
    ) -> Reply:
        """One try, without the fields that the server rejects and can do without.

        What was left out is remembered once the server has answered without it.
        """
        adaptation = self._adaptation
        while True:
            body = request_body(
                self.card,
                request,
                seed=seed,
                n=len(draws),
                stream=on_event is not None,
                adaptation=adaptation,
            )
            content = json.dumps(body, allow_nan=False).encode()
            try:
                reply = await self._attempt(content, request, draws, on_event)
            except FieldError as error:
                others = None if error.field in self.card.body else adaptation.without(error.field)
                if others is None or others == adaptation:
                    raise
                adaptation = others
                continue
            if adaptation != self._adaptation:
                self._adaptation = adaptation
                for note, key in adaptation.changes(self.card):
                    self._warn(f"{note}; {key} in the card says so from the start")
            return reply

    def _warn(self, text: str) -> None:
        """Log a warning once."""
        if text not in self._warned:
            self._warned.add(text)
            logger.warning("%s: %s", self.card.name, text)

    async def _attempt(
        self, body: bytes, request: Request, draws: range, on_event: OnEvent | None
    ) -> Reply:
        """One try: replicas are asked one after another until one answers or text has come."""
        deltas = None if on_event is None else Deltas(on_event, draws)
        tried: list[Replica] = []
        while True:
            with self._replicas.one(tried) as replica:
                tried.append(replica)
                try:
                    reply = self._empty_reply(request, len(draws))
                    return await self._ask_replica(replica, body, reply, deltas)
                except LMError as error:
                    has_begun = deltas is not None and deltas.has_begun
                    may_ask_again = error.retryable and not has_begun
                    failure = self._transport.told(
                        error, replica.url, retryable=may_ask_again, hint=hint(self.card, error)
                    )
            if not may_ask_again or len(tried) == len(self._replicas.all):
                raise failure

    def _empty_reply(self, request: Request, num_choices: int) -> Reply:
        most = request.sampling.max_tokens
        is_sent = not self.card.server_sampling and self._adaptation.max_tokens_field is not None
        bound = most * _MAX_TOKEN_CHARACTERS if most is not None and is_sent else None
        return Reply(num_choices, bound, is_plain=self.card.endpoint == "completions")

    async def _ask_replica(
        self, replica: Replica, body: bytes, reply: Reply, deltas: Deltas | None
    ) -> Reply:
        """The reply of one server, read into the empty one; the server's health is noted."""
        started = self._clock.monotonic()
        try:
            async with self._transport.post(replica.url, body) as response:
                await receive(response, reply, deltas)
        except LMError as error:
            if isinstance(error, ReportedError) and not (deltas is not None and deltas.has_begun):
                rejection = field_error(error.reason, error.content, body)
                if rejection is not None:
                    raise rejection from None
            if error.retryable and not isinstance(error, BusyError):
                self._replicas.failed(replica, at_once=isinstance(error, UnreachableError))
            raise
        except asyncio.CancelledError:
            if self._clock.monotonic() - started >= self.card.timeout_seconds:
                self._replicas.failed(replica)  # it took all the time there was
            raise
        self._replicas.did_well(replica)
        return reply


# ----------------------------------------------------------------------------------- from a card


def open_remote(card: OpenAICard, base_dir: Path | None = None) -> RemoteLM:
    """The model of a card, with the key that its environment variable holds.

    Raises
    ------
    UsageError : a variable is not set or holds no key; an address is none, or has a password; the
        certificates that the environment names cannot be read.
    """
    for number, url in enumerate(card.base_urls):
        if not _is_plain_address(url):
            raise UsageError(
                f"model {card.name!r}: base_urls[{number}] is not an address of scheme, host and "
                "path alone; a key belongs into the environment variable named by 'api_key_env'"
            )
    secret_headers = {
        name: header_from(value.env)
        for name, value in card.headers.items()
        if isinstance(value, FromVariable)
    }
    api_key = None if card.api_key_env is None else key_from(card.api_key_env)
    return RemoteLM(card, api_key=api_key, secret_headers=secret_headers)


def _is_plain_address(url: str) -> bool:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return bool(parsed.host) and not (parsed.userinfo or parsed.query or parsed.fragment)
