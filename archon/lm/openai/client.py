"""Client for a model on a server that speaks the OpenAI protocol.

Seeds: each sample is a separate HTTP request. Its seed is derived from the request's seed, the
prompt and the sample number. If the server honors seeds, sample k does not depend on the number of
samples. With the card's ``native_n``, one HTTP request with the seed of its first sample returns
all samples, so sample k also depends on ``first_draw``.

Errors: if some samples of a request succeed, a failed sample is returned with its error
(``Completion.error``).

Usage: token counts are reported by the server. Missing and impossible counts are recorded as 0,
with a note on the sample. With ``native_n``, each sample counts the complete prompt, and the
server's total of completion tokens is divided evenly among the samples. A prompt is identified by a
digest of its text, because its tokens are known only to the server.

Rejected fields: if the server rejects a request field, the client either raises an error that names
the card key to change, or omits the field with a note and a warning
(``archon.lm.openai.field_adaptation``).

Constraints: the card's ``constraint`` key names the request field for them. A reply that should be
JSON but is not is an error. For a constraint after free text, the reply may be wrapped in a JSON
object (``archon.lm.openai.structured_output``). A wrapped reply is not streamed.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import replace

import httpx

from archon.errors import LMError, UsageError
from archon.lm.base import check_request, with_defaults
from archon.lm.cache_keys import prompt_digest, request_digest, sample_hash
from archon.lm.concurrency import Gauge, PerLoop, run_all
from archon.lm.factory import capabilities
from archon.lm.openai.field_adaptation import initial_adaptation, rejected_field_error
from archon.lm.openai.load_balancer import LoadBalancer, Replica
from archon.lm.openai.payload import is_wrapped, request_body, unsent_parameters
from archon.lm.openai.response import Deltas, ServerReply, completions_of, receive
from archon.lm.openai.server_errors import (
    BusyError,
    RejectedFieldError,
    ReportedError,
    UnreachableError,
    hint,
)
from archon.lm.openai.transport import Transport
from archon.lm.reasoning import generate_separated, send_completion
from archon.lm.retry import Backoff, Clock, retrying
from archon.lm.sample_failures import Failures
from archon.spec.model import FromVariable, OpenAICard
from archon.types import (
    DEFAULT_SAMPLING,
    Completion,
    ModelStatus,
    OnEvent,
    Request,
    SamplingParams,
    total_usage,
)

logger = logging.getLogger("archon.lm")

_VERSION = 1
"""Increment when request bodies change, so that pools do not return samples of older versions."""
_SEED_BITS = 31  # some servers store seeds in signed 32 bits
_PATHS = {"chat": "chat/completions", "completions": "completions"}
_MAX_TOKEN_CHARACTERS = 1000
"""Upper bound on the number of characters in a token."""


class RemoteLM:
    """A language model on a card's servers. It may be used from several event loops.

    The card's ``timeout_seconds`` limits the time of each HTTP request, including retries but
    excluding the wait for one of the ``max_concurrency`` slots. Connections belong to the event
    loop that opened them, so call ``aclose`` in that loop.

    Parameters
    ----------
    api_key
        API key, sent as a bearer token.
    secret_headers
        Additional HTTP headers, whose values are not shown in error messages.
    clock, backoff
        Source of time and randomness, and the delays between retries. Replaced in tests.
    http
        Transport that replaces the network in tests.
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
        if card.model is None:
            raise UsageError(f"the card {card.name!r} names no model; open it with open_remote")
        self.card, self._model = card, card.model
        self.capabilities = capabilities(card)
        sampling = SamplingParams() if card.sampling is None else card.sampling.params()
        self._sampling = sampling.over(DEFAULT_SAMPLING)
        self._thinking = card.thinking_params()
        self.reasoning_markers = card.markers()
        self._clock = clock or Clock()
        self._backoff = backoff or Backoff()
        self._adaptation = initial_adaptation(card)
        self._warned: set[str] = set()
        self._slots = PerLoop(lambda: asyncio.Semaphore(card.max_concurrency))
        self._waiting, self._running, self._generated_tokens = Gauge(), Gauge(), Gauge()
        plain = {name: value for name, value in card.headers.items() if isinstance(value, str)}
        secret = dict(secret_headers or {})
        self._transport = Transport(
            card.base_urls,
            _PATHS[card.endpoint],
            api_key,
            keep_alive=card.max_concurrency,
            clock=self._clock,
            headers=plain | secret,
            secrets=list(secret.values()),
            trust_env=card.trust_env,
            http=http,
        )
        self._load_balancer = LoadBalancer(self._transport.urls, self._clock)

    def __repr__(self) -> str:
        return f"RemoteLM({self.card.model!r} at {', '.join(self.card.base_urls)})"

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Request the samples, up to the card's ``max_concurrency`` at the same time.

        Raises
        ------
        LMError
            Every sample failed after all retries.
        RefusedError
            The server refuses the requests. The remaining samples are cancelled, except after
            status 403 or 404, which may affect only one sample.
        """
        request = with_defaults(request, self._sampling, self._thinking)
        check_request(request, self.capabilities, self.card.name)
        return await generate_separated(
            self._generate,
            request,
            on_event,
            self.reasoning_markers,
            splits_constrained=True,
            hides_start=self.card.thinking_field == "chat_template_kwargs",
        )

    async def _generate(self, request: Request, on_event: OnEvent | None) -> list[Completion]:
        indices = range(request.first_draw, request.first_draw + request.n)
        if self.card.native_n or request.n == 1:
            return await self._request(request, indices, on_event)
        failures = Failures()

        async def one(index: int) -> list[Completion]:
            only = range(index, index + 1)
            return await failures.catch(lambda: self._request(request, only, on_event), only)

        groups = await run_all(map(one, indices))
        completions = [completion for group in groups for completion in group]
        failures.check(completions)
        return completions

    def status(self) -> ModelStatus:
        """See ``archon.lm.base.SupportsStatus``."""
        return ModelStatus(
            "calling",
            num_running=self._running.value,
            num_waiting=self._waiting.value,
            generated_tokens=self._generated_tokens.value,
        )

    def draw_key(self, request: Request) -> str | None:
        """See ``archon.lm.base.SupportsDrawKey``; None with ``native_n``."""
        if self.card.native_n:
            return None
        request = with_defaults(request, self._sampling, self._thinking)
        prompt = prompt_digest(self._model, request.messages)
        card = self.card
        model = ["openai", _VERSION, sorted(card.base_urls), card.model]
        if card.endpoint != "chat" or card.server_sampling:
            model += [card.endpoint, card.server_sampling]
        if changes := self._settings_in_key():
            model.append(changes)
        constraint = request.constraint
        if constraint is not None and constraint.after is not None:
            model.append(card.constraint)
        if request.thinking.key is not None:
            model.append(card.thinking_field)
        return request_digest(model, prompt, request, self.reasoning_markers)

    def _settings_in_key(self) -> dict[str, object]:
        """Return the card's headers, body fields and omitted fields that may affect samples."""
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

    async def _request(
        self, request: Request, indices: range, on_event: OnEvent | None
    ) -> list[Completion]:
        """Generate samples in one HTTP request, with retries."""
        prompt = prompt_digest(self._model, request.messages)
        wrapped = is_wrapped(self.card, request.constraint)
        listener = None if wrapped else on_event
        is_greedy = request.sampling.temperature == 0
        seed, first = (0, 0) if is_greedy else (request.seed, indices.start)
        number = sample_hash(prompt, seed, first, bits=_SEED_BITS)
        slots = self._slots.get()
        with self._waiting.one_more():
            await slots.acquire()
        try:
            with self._running.one_more():
                reply = await retrying(
                    lambda: self._attempt(request, number, indices, listener),
                    name=self.card.name,
                    timeout_seconds=self.card.timeout_seconds,
                    backoff=self._backoff,
                    clock=self._clock,
                )
        finally:
            slots.release()
        completions = completions_of(
            reply, indices, request, prompt, is_wrapped=wrapped, markers=self.reasoning_markers
        )
        notes = tuple(note for note, _ in self._adaptation.changes(self.card))
        for name in unsent_parameters(self.card, request.sampling):
            note = f"{self.card.provider} does not support {name!r}, so it is not sent"
            self._warn(note)
            notes = (*notes, note)
        for i, completion in enumerate(completions):
            for note in completion.notes:
                self._warn(note)
            if completion.error is None:
                completions[i] = replace(completion, notes=completion.notes + notes)
        if wrapped and on_event is not None:
            for completion in completions:
                send_completion(completion, on_event)
        self._generated_tokens.add(total_usage(completions).generated_tokens)
        return completions

    async def _attempt(
        self, request: Request, seed: int, indices: range, on_event: OnEvent | None
    ) -> ServerReply:
        """Make one attempt; resend the request without any optional fields that the server rejects.

        After a success, later requests omit these fields too.
        """
        adaptation = self._adaptation
        while True:
            body = request_body(
                self.card,
                request,
                seed=seed,
                n=len(indices),
                stream=on_event is not None,
                adaptation=adaptation,
            )
            content = json.dumps(body, allow_nan=False).encode()
            try:
                reply = await self._try_replicas(content, request, indices, on_event)
            except RejectedFieldError as error:
                changed = None if error.field in self.card.body else adaptation.without(error.field)
                if changed is None or changed == adaptation:
                    raise
                adaptation = changed
                continue
            if adaptation != self._adaptation:
                self._adaptation = adaptation
                for note, key in adaptation.changes(self.card):
                    self._warn(f"{note}; set {key} in the card to avoid this warning")
            return reply

    def _warn(self, text: str) -> None:
        """Log a warning once."""
        if text not in self._warned:
            self._warned.add(text)
            logger.warning("%s: %s", self.card.name, text)

    async def _try_replicas(
        self, body: bytes, request: Request, indices: range, on_event: OnEvent | None
    ) -> ServerReply:
        """Try one replica after another until one replies.

        After text has been sent to ``on_event``, an error is final.
        """
        deltas = Deltas(on_event, indices)
        tried: list[Replica] = []
        while True:
            with self._load_balancer.choose(tried) as replica:
                tried.append(replica)
                try:
                    reply = self._new_reply(request, len(indices))
                    return await self._ask_replica(replica, body, reply, deltas)
                except LMError as error:
                    may_retry = error.retryable and not deltas.has_sent
                    failure = self._transport.redacted(
                        error, replica.url, retryable=may_retry, hint=hint(self.card, error)
                    )
            if not may_retry or len(tried) == len(self._load_balancer.replicas):
                raise failure

    def _new_reply(self, request: Request, num_choices: int) -> ServerReply:
        max_tokens = request.sampling.max_tokens
        is_sent = not self.card.server_sampling and self._adaptation.max_tokens_field is not None
        limit = max_tokens * _MAX_TOKEN_CHARACTERS if max_tokens is not None and is_sent else None
        return ServerReply(
            num_choices,
            limit,
            is_plain=self.card.endpoint == "completions",
            has_tools=bool(request.offered_tools),
        )

    async def _ask_replica(
        self, replica: Replica, body: bytes, reply: ServerReply, deltas: Deltas
    ) -> ServerReply:
        """Read a replica's reply into ``reply``, and report success or failure to the balancer."""
        started = self._clock.monotonic()
        try:
            async with self._transport.post(replica.url, body) as response:
                await receive(response, reply, deltas)
        except LMError as error:
            if isinstance(error, ReportedError) and not deltas.has_sent:
                rejection = rejected_field_error(error.reason, error.content, body)
                if rejection is not None:
                    raise rejection from None
            if error.retryable and not isinstance(error, BusyError):
                is_unreachable = isinstance(error, UnreachableError)
                self._load_balancer.failed(replica, is_unreachable=is_unreachable)
            raise
        except asyncio.CancelledError:
            if self._clock.monotonic() - started >= self.card.timeout_seconds:
                self._load_balancer.failed(replica)  # the server used up the timeout
            raise
        self._load_balancer.succeeded(replica)
        return reply
