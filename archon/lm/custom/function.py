"""Functions as language models.

A function gets the messages of a prompt and returns a text. ``FunctionLM`` adds what a model must
have: it numbers the samples, calls the function once for each of them, runs synchronous functions
in threads, ends texts before stop strings, and reports what the function does not know.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from archon.errors import ArchonError, LMError, UsageError
from archon.lm.base import check_request
from archon.lm.cache_keys import prompt_digest, sample_hash
from archon.lm.concurrency import run_all
from archon.lm.custom.token_counts import UNKNOWN_TOKENS, lacks_token_counts
from archon.lm.reasoning import send_completion
from archon.lm.sample_failures import Failures
from archon.types import SAMPLING_PARAMETERS, Completion, OnEvent, Request, TokenDelta

MAX_THREADS = 64
"""Maximum number of concurrent calls of a synchronous function."""
_KNOWN = ("messages", "request", "n", "seed", "on_event", *SAMPLING_PARAMETERS)
_RETURNS = "a str, an archon.Completion, or a list of them"


class FunctionLM:
    """A function, synchronous or asynchronous, as a language model.

    The function's first parameter gets the messages as a list of dicts with the keys ``role`` and
    ``content``. Further parameters are passed by their names, if the function has them:

    - ``n``: the number of texts to return; without it, the function is called once for each sample;
    - ``seed``: an integer that is different for each sample and equal in each repetition;
    - ``request``: the complete ``archon.Request``; with it, the function also is called once for
      all samples;
    - the names of sampling parameters such as ``temperature``, ``max_tokens`` and ``stop``. A
      parameter that is not set gets the default of the function's parameter, otherwise None.

    The function returns a ``str`` or an ``archon.Completion``; with ``n`` or ``request``, a list of
    ``n`` of them. An asynchronous generator yields pieces of one text, which are streamed; a
    generator yields pieces of one text. A ``Completion`` needs only a text; its ``draw`` is set,
    its usage is that of one call, and if it has no token counts, a note says so.

    Samples of a function are never stored in the pool, because nothing identifies the function's
    state.

    Parameters
    ----------
    function
        The function, or any callable object.
    name
        Name of the model in errors and notes; by default, the function's.
    first
        What the first parameter gets if its name does not say it: ``messages`` or ``request``.

    Raises
    ------
    UsageError
        The function cannot be called with messages.
    """

    def __init__(
        self, function: Callable[..., Any], name: str | None = None, *, first: str = "messages"
    ) -> None:
        self.name = name or _name_of(function)
        self._function = function
        self._first, self._names, self._defaults = _parameters(function, self.name, first)
        self._takes_all = bool({"n", "request"} & {self._first, *self._names})
        self._is_async = _is_async(function)
        self.capabilities = frozenset({"chat"} | ({"stream"} if _streams(function) else set()))
        self._threads: tuple[int, ThreadPoolExecutor] | None = None

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        """Call the function for ``request.n`` samples.

        Raises
        ------
        UnsupportedError
            The request needs more than a text, such as log-probabilities.
        LMError
            The function failed for every sample, or returned something else than texts.
        """
        check_request(request, self.capabilities, self.name)
        first = request.first_draw
        if self._takes_all:
            return await self._completions(request, on_event)
        failures = Failures()

        async def one(draw: int) -> list[Completion]:
            single = replace(request, n=1, first_draw=draw)
            return await failures.catch(
                lambda: self._completions(single, on_event), range(draw, draw + 1)
            )

        found = await run_all(map(one, range(first, first + request.n)))
        completions = [completion for part in found for completion in part]
        failures.check(completions)
        return completions

    async def aclose(self) -> None:
        """Stop the threads that are idle."""
        if self._threads is not None and self._threads[0] == os.getpid():
            self._threads[1].shutdown(wait=False)
        self._threads = None

    async def _completions(self, request: Request, on_event: OnEvent | None) -> list[Completion]:
        """Call the function once, and complete what it returns."""
        # A text that is cut at a stop string must not be streamed beyond it.
        cuts = bool(request.sampling.stop) and not self._sees_stop
        streamed = _Streamed(None if cuts else on_event, request.first_draw)
        returned = await self._call(request, streamed)
        texts = list(returned) if isinstance(returned, list | tuple) else [returned]
        for text in texts:
            if not isinstance(text, str | Completion):
                kind = type(text).__name__
                raise LMError(f"the model {self.name} returned {kind}; it must return {_RETURNS}")
        if len(texts) != request.n:
            raise LMError(
                f"the model {self.name} returned {len(texts)} texts instead of {request.n}"
            )
        prompt = prompt_digest(self.name, request.messages)
        completions = [
            self._completed(text, request.first_draw + i, prompt, request)
            for i, text in enumerate(texts)
        ]
        if on_event is not None and not streamed.has_sent:
            for completion in completions:
                send_completion(completion, on_event)
        return completions

    def _completed(
        self, text: str | Completion, draw: int, prompt: str, request: Request
    ) -> Completion:
        """Return a sample with everything that the function left out."""
        given = text if isinstance(text, Completion) else Completion(text)
        notes = list(given.notes)
        usage = given.usage if given.usage.calls else replace(given.usage, calls=1)
        given = replace(given, draw=draw, usage=usage)
        if not self._sees_stop:
            given = _stopped(given, request.sampling.stop or ())
        if lacks_token_counts(given):
            notes.append(UNKNOWN_TOKENS)
        if ignored := self._ignored(request):
            notes.append(f"the model {self.name} does not receive {', '.join(ignored)}")
        prompts = given.prompts or {prompt: given.usage.prompt_tokens}
        return replace(given, prompts=prompts, notes=tuple(dict.fromkeys(notes)))

    @property
    def _takes_request(self) -> bool:
        return "request" in (self._first, *self._names)

    @property
    def _sees_stop(self) -> bool:
        return self._takes_request or "stop" in self._names

    def _ignored(self, request: Request) -> list[str]:
        """Return the sampling parameters that have an effect and that the function cannot see."""
        if self._takes_request:
            return []
        return [
            name
            for name, parameter in SAMPLING_PARAMETERS.items()
            if name not in ("stop", *self._names)
            and parameter.has_effect(getattr(request.sampling, name))
        ]

    async def _call(self, request: Request, streamed: _Streamed) -> Any:
        """Call the function; return its result, or the text of a generator.

        Raises
        ------
        LMError
            The function failed.
        """
        messages = [{"role": m.role, "content": m.content} for m in request.messages]
        values: dict[str, Any] = {
            "messages": messages,
            "request": request,
            "n": request.n,
            "seed": self._seed(request),
            "on_event": streamed.on_event,
        }
        for name in SAMPLING_PARAMETERS:
            value = getattr(request.sampling, name)
            values[name] = self._defaults.get(name) if value is None else value
        named = {name: values[name] for name in self._names}
        call = functools.partial(self._function, values[self._first], **named)
        try:
            returned = call() if self._is_async else await self._in_thread(call)
            if inspect.isawaitable(returned):
                returned = await returned
            if isinstance(returned, AsyncIterator):
                return "".join([streamed.send(piece) async for piece in returned])
            return returned
        except ArchonError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise LMError(f"the model {self.name} failed: {reason}") from error

    def _seed(self, request: Request) -> int:
        prompt = prompt_digest(self.name, request.messages)
        return sample_hash(prompt, request.seed, request.first_draw, bits=31)

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        def work() -> Any:
            try:
                returned = call()
                return "".join(returned) if isinstance(returned, Iterator) else returned
            except StopIteration as error:  # a future cannot carry it
                raise RuntimeError("StopIteration") from error

        threads = self._threads
        if threads is None or threads[0] != os.getpid():  # a forked child has no threads
            threads = (os.getpid(), ThreadPoolExecutor(MAX_THREADS, f"archon {self.name}"))
            self._threads = threads
        return await asyncio.get_running_loop().run_in_executor(threads[1], work)


class _Streamed:
    """Sends the pieces of a text, and remembers whether there were any."""

    def __init__(self, on_event: OnEvent | None, draw: int) -> None:
        self._listener, self._draw = on_event, draw
        self.has_sent = False

    @property
    def on_event(self) -> OnEvent | None:
        """The listener for a function that sends events itself; None if nobody listens."""
        return None if self._listener is None else self._forward

    def _forward(self, event: Any) -> None:
        self.has_sent = True
        assert self._listener is not None
        self._listener(event)

    def send(self, piece: object) -> str:
        """Send one piece, and return it."""
        if not isinstance(piece, str):
            raise TypeError(f"it yielded {type(piece).__name__} instead of str")
        if self._listener is not None and piece:
            self._forward(TokenDelta(self._draw, piece))
        return piece


def _stopped(completion: Completion, stops: Sequence[str]) -> Completion:
    """Return a completion whose text ends before the first stop string."""
    text = completion.text
    end = min((at for stop in stops if (at := text.find(stop)) >= 0), default=len(text))
    if end == len(text):
        return completion
    return replace(completion, text=text[:end], finish_reason="stop")


def _parameters(
    function: Callable[..., Any], name: str, first: str
) -> tuple[str, tuple[str, ...], dict[str, Any]]:
    """Return what the first parameter gets, the names of the others, and their defaults.

    Raises
    ------
    UsageError
        The function has no parameter for the messages, or needs one that is not known.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some builtins have no signature
        return first, (), {}
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if not positional and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise UsageError(
            f"the model {name} needs a positional parameter, which gets the messages of the prompt"
        )
    start = positional[0] if positional else None
    if start is not None and start.name in ("messages", "request"):
        first = start.name
    names, defaults = [], {}
    for parameter in parameters:
        if parameter is start or parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            continue
        is_known = parameter.name in _KNOWN and parameter.kind is not parameter.POSITIONAL_ONLY
        has_default = parameter.default is not parameter.empty
        if is_known:
            names.append(parameter.name)
            if has_default:
                defaults[parameter.name] = parameter.default
        elif not has_default:
            known = ", ".join(_KNOWN[:4])
            raise UsageError(
                f"the model {name} has a parameter {parameter.name!r} without a default; a "
                f"function gets {known} and sampling parameters; give it a default, or bind it "
                "with functools.partial"
            )
    return first, tuple(names), defaults


def _unwrapped(function: Callable[..., Any]) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    is_plain = inspect.isfunction(function) or inspect.ismethod(function)
    return function if is_plain else getattr(type(function), "__call__", function)  # noqa: B004


def _is_async(function: Callable[..., Any]) -> bool:
    plain = _unwrapped(function)
    return inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain)


def _streams(function: Callable[..., Any]) -> bool:
    return inspect.isasyncgenfunction(_unwrapped(function))


def _name_of(function: Callable[..., Any]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None)
    return name if isinstance(name, str) else type(function).__qualname__
