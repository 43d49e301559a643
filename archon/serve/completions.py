"""The ``POST /v1/completions`` endpoint."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from archon.errors import ContextLengthError
from archon.graph.lm import ArchitectureLM
from archon.lm.base import LM
from archon.lm.concurrency import run_all
from archon.lm.reasoning import generate_answers
from archon.reasoning import ReasoningMarkers
from archon.serve.asgi_io import LAST_EVENT, event
from archon.serve.completion_request import CompletionRequest, read_completion_request
from archon.serve.completion_response import CompletionBuilder
from archon.serve.endpoint import Exchange, ModelEndpoint
from archon.serve.fields import BadRequestError
from archon.types import Completion, Event, OnEvent, Request, SamplingParams, TokenDelta


class Completions(ModelEndpoint):
    """The ``POST /v1/completions`` endpoint.

    A model continues a prompt without a chat template. An architecture gets it as a question.
    """

    async def answer(self, exchange: Exchange) -> None:
        """See ``ModelEndpoint.answer``."""
        body = read_completion_request(await exchange.body(), is_strict=self.served.is_strict)
        lm = self.served.find(body.model)
        is_architecture = isinstance(lm, ArchitectureLM)
        lm = exchange.model(body.model, "chat" if is_architecture else "completion")
        self._check(body, lm)
        exchange.report_ignored(body, lm)
        requests = body.requests(for_architecture=is_architecture)
        self.served.check_tokens(body.model, requests[0].sampling, len(requests) * requests[0].n)
        builder = CompletionBuilder(
            body.model,
            [prompt.text if prompt.token_ids is None else None for prompt in body.prompts],
            requests[0].n,
            echo=body.echo,
            logprobs=body.logprobs is not None,
            wants_usage=body.wants_usage,
        )
        prompts = PromptBatch(lm, requests)
        try:
            if body.stream:
                await exchange.send_stream(_stream(exchange, prompts, builder))
            else:
                completions = await exchange.generate(prompts, prompts.request)
                await exchange.writer.send_json(builder.complete(completions))
        except ContextLengthError as error:
            code = "context_length_exceeded"
            raise BadRequestError(f"prompt: {error}", param="prompt", code=code) from None

    def _check(self, body: CompletionRequest, lm: LM) -> None:
        """Check that the model supports a request, and that the request does not exceed any limit.

        Raises
        ------
        BadRequestError
            The request fails a check. The error names the field at fault.
        """
        limit, prompts = self.served.limits.max_inputs, body.prompts
        if len(prompts) > limit:
            reason = f"prompt: the request has more than {limit} prompts (--max-inputs)"
            raise BadRequestError(reason, param="prompt", code="too_many_inputs")
        has_ids = any(prompt.token_ids is not None for prompt in prompts)
        if isinstance(lm, ArchitectureLM):
            kind = "is an architecture, which gets the prompt as a question"
            unsupported = {
                "prompt": (has_ids, "send a text instead of token ids"),
                "echo": (body.echo, "leave it out, or send false"),
                "logprobs": (body.logprobs is not None, "leave it out"),
                "max_tokens": (body.max_tokens == 0, "send at least 1"),
            }
        else:
            kind = "does not return log-probabilities of prompts"
            scores = "prompt_logprobs" in lm.capabilities
            has_logprobs = body.logprobs is not None
            unsupported = {
                "echo": (
                    body.echo and (has_logprobs or has_ids) and not scores,
                    "send echo without logprobs and with a text, or use a local model",
                ),
                "max_tokens": (body.max_tokens == 0 and not scores, "send at least 1"),
                "logprobs": (
                    has_logprobs and "logprobs" not in lm.capabilities,
                    "leave it out, since the model returns no log-probabilities",
                ),
            }
        for param, (is_unsupported, advice) in unsupported.items():
            if is_unsupported:
                reason = f"{param}: {body.model} {kind}; {advice}"
                raise BadRequestError(reason, param=param, code="unsupported")


class PromptBatch:
    """Several prompts of one model as one request: sample k of prompt p is sample p · n + k."""

    reasoning_markers: tuple[ReasoningMarkers, ...] = ()
    """Empty, because the model separates reasoning from answers itself."""

    def __init__(self, lm: LM, requests: Sequence[Request]) -> None:
        self._lm, self._requests, self._n = lm, requests, requests[0].n
        self.capabilities = lm.capabilities
        self.request = Request((), n=len(requests) * self._n, sampling=SamplingParams())
        """The request for all samples of all prompts."""

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Run all prompts concurrently. The first failure cancels the others."""
        groups = await run_all(self._one(at, on_event) for at in range(len(self._requests)))
        return [completion for group in groups for completion in group]

    async def _one(self, at: int, on_event: OnEvent | None) -> list[Completion]:
        first = at * self._n

        def renumbered(event: Event) -> None:
            if on_event is not None:
                if isinstance(event, TokenDelta) and not event.node:
                    event = replace(event, draw=first + event.draw)
                on_event(event)

        listener = None if on_event is None else renumbered
        completions = await generate_answers(self._lm, self._requests[at], listener)
        # A prompt that was sent twice is counted twice.
        return [
            replace(c, draw=first + c.draw, prompts={f"{at}:{p}": k for p, k in c.prompts.items()})
            for c in completions
        ]


async def _stream(
    exchange: Exchange, prompts: PromptBatch, builder: CompletionBuilder
) -> AsyncGenerator[bytes, None]:
    """Yield the answers as encoded events while they are generated; reasoning is left out."""
    begun, with_text = set[int](), set[int]()  # indices of choices

    def begin(index: int, completion: Completion | None = None) -> list[bytes]:
        """Return the echoed prompt before the first text of a choice."""
        text = "" if index in begun else builder.echoed(index, completion)
        begun.add(index)
        return [event(builder.delta(index, text))] if text else []

    async with aclosing(exchange.batches(prompts, prompts.request)) as batches:
        async for batch in batches:
            pieces: list[bytes] = []
            for index, item in enumerate(batch):
                if isinstance(item, TokenDelta):
                    if item.node or item.is_reasoning or builder.must_wait(item.draw):
                        continue
                    pieces += begin(item.draw)
                    with_text.add(item.draw)
                    pieces.append(event(builder.delta(item.draw, item.text)))
                elif isinstance(item, Completion):
                    pieces += begin(index, item)
                    if item.text and index not in with_text:
                        with_text.add(index)
                        pieces.append(event(builder.delta(index, item.text)))
                    pieces.append(event(builder.last(index, item)))
            if with_text:
                exchange.metrics.note_first_token()
            completions = [item for item in batch if isinstance(item, Completion)]
            if completions:
                if builder.wants_usage:
                    pieces.append(event(builder.usage_chunk(completions)))
                pieces.append(LAST_EVENT)
            if pieces:
                yield b"".join(pieces)
