"""Clients of the OpenAI protocol that a program has made, such as ``openai.AsyncOpenAI``.

The client sends the requests, so its address, credentials, proxies and retries apply. What is sent
and how replies are read is the same as for models on servers (``archon.lm.openai``).
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from archon.errors import LMError, UsageError
from archon.lm.base import check_request
from archon.lm.cache_keys import prompt_digest, sample_hash
from archon.lm.concurrency import run_all
from archon.lm.openai.payload import request_body
from archon.lm.openai.response import ServerReply, completions_of, read_reply
from archon.lm.reasoning import send_completion
from archon.lm.sample_failures import Failures
from archon.spec.model import OpenAICard
from archon.types import Completion, OnEvent, Request

_NAMED = frozenset(
    {
        "model", "messages", "seed", "temperature", "top_p", "max_tokens", "stop", "logprobs",
        "top_logprobs", "frequency_penalty", "presence_penalty", "logit_bias", "response_format",
    }
)  # fmt: skip
"""Fields that the client's method has parameters for; others are sent as ``extra_body``."""


@runtime_checkable
class ChatClient(Protocol):
    """A client with ``chat.completions.create``, synchronous or asynchronous."""

    @property
    def chat(self) -> Any: ...


def is_chat_client(model: object) -> bool:
    """Return True if an object has the method ``chat.completions.create``."""
    completions = getattr(getattr(model, "chat", None), "completions", None)
    return callable(getattr(completions, "create", None))


class ClientLM:
    """A model that a client of the OpenAI protocol calls.

    Each sample is one call with its own seed, because not all servers support ``n``. A synchronous
    client is called in threads.

    Parameters
    ----------
    client
        An ``openai.AsyncOpenAI``, ``openai.OpenAI``, Azure or compatible client.
    name
        Name of the model on the server. If it is None, the server is asked at the first request;
        it must then have exactly one model.
    """

    capabilities = frozenset({"chat", "logprobs"})

    def __init__(self, client: ChatClient, name: str | None = None) -> None:
        self._client, self._name = client, name

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Generate the samples with one call each.

        Raises
        ------
        UnsupportedError
            The request needs a constraint, scored choices, or something else that is not sent.
        LMError
            Every call failed.
        UsageError
            No model is named, and the server has several.
        """
        name = await self._model_name()
        check_request(request, self.capabilities, name)
        failures = Failures()

        async def one(draw: int) -> list[Completion]:
            single = replace(request, n=1, first_draw=draw)
            return await failures.catch(lambda: self._ask(name, single), range(draw, draw + 1))

        draws = range(request.first_draw, request.first_draw + request.n)
        completions = [c for part in await run_all(map(one, draws)) for c in part]
        failures.check(completions)
        if on_event is not None:
            for completion in completions:
                send_completion(completion, on_event)
        return completions

    async def _ask(self, name: str, request: Request) -> list[Completion]:
        prompt = prompt_digest(name, request.messages)
        seed = sample_hash(prompt, request.seed, request.first_draw, bits=31)
        card = OpenAICard.model_validate(
            {"name": name, "backend": "openai", "base_urls": ["http://client"], "model": name}
        )
        body = request_body(card, request, seed=seed)
        named = {key: value for key, value in body.items() if key in _NAMED}
        if others := {key: value for key, value in body.items() if key not in _NAMED}:
            named["extra_body"] = others
        response = await self._send(name, named)
        reply = ServerReply(1)
        read_reply(reply, response)
        draws = range(request.first_draw, request.first_draw + 1)
        return completions_of(reply, draws, request, prompt)

    async def _send(self, name: str, fields: Mapping[str, Any]) -> bytes:
        """Call the client; return the body of the reply."""
        create = self._client.chat.completions.create
        try:
            response = await _called(create, fields)
            dump = getattr(response, "model_dump_json", None)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise LMError(f"the client of the model {name} failed: {reason}") from error
        if dump is None:
            kind = type(response).__name__
            raise LMError(f"the client of the model {name} returned {kind}, not a chat completion")
        return str(dump()).encode()

    async def _model_name(self) -> str:
        if self._name is None:
            names = await self._listed()
            if len(names) != 1:
                listed = f": {', '.join(names[:10])}" if names else ""
                raise UsageError(
                    f"the client's server has {len(names)} models{listed}; name one with "
                    'archon.lm(client, name="MODEL")'
                )
            self._name = names[0]
        return self._name

    async def _listed(self) -> list[str]:
        try:
            page = await _called(self._client.models.list, {})  # type: ignore[attr-defined]
            return [str(model.id) for model in page.data]
        except Exception as error:
            raise UsageError(
                f"the client cannot list its models ({type(error).__name__}: {error}); name the "
                'model with archon.lm(client, name="MODEL")'
            ) from error


async def _called(method: Any, fields: Mapping[str, Any]) -> Any:
    """Call a method of a synchronous client in a thread, or await that of an asynchronous one."""
    if inspect.iscoroutinefunction(inspect.unwrap(method)):
        return await method(**fields)
    returned = await asyncio.to_thread(method, **fields)
    return await returned if inspect.isawaitable(returned) else returned
