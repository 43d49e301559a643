"""Answering a request from the pool: found draws as they are, the others made and stored."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from types import TracebackType

from archon.lm.base import LM, Keyed
from archon.lm.concurrency import run_all
from archon.lm.openai.failed import Failures
from archon.lm.pool.claims import Claim, Claims
from archon.lm.pool.scope import Scope
from archon.lm.pool.store import Draw, DrawStore, NewDraw, max_pool_bytes, pool_path
from archon.types import Completion, OnEvent, Request, TokenDelta, Usage


class DrawPool:
    """Draws on disk, and those that are being made; safe to use from several event loops.

    The file is read and written in a thread of its own. To be closed in the end; a closed pool
    passes requests on.

    Parameters
    ----------
    path : the file; by default the one in the user's cache.
    max_bytes : its bound; by default ``ARCHON_POOL_BYTES``, or 2 GB.

    Raises
    ------
    UsageError : ``ARCHON_POOL_BYTES`` holds no number of bytes.
    """

    def __init__(self, path: Path | None = None, max_bytes: int | None = None) -> None:
        bound = max_pool_bytes() if max_bytes is None else max_bytes
        self._store = DrawStore(path or pool_path(), bound)
        self.claims = Claims()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="archon-pool")
        self._lock = threading.Lock()
        self._unwritten: list[NewDraw] = []
        self._closed = False
        self._owner = os.getpid()

    def __enter__(self) -> DrawPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what was made, and close the file."""
        if self._is_left_behind():
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._thread.submit(self._write)
            self._thread.submit(self._store.close)
        self._thread.shutdown()

    async def generate(
        self, lm: LM, model: str, request: Request, on_event: OnEvent | None, scope: Scope
    ) -> list[Completion]:
        """The completions that the model gives for a request, made by it where they are not here.

        Parameters
        ----------
        model : its name, for people to read.
        scope : what the request is asked for.

        Raises
        ------
        LMError, EngineError : as the model raises them.
        """
        draws = range(request.first_draw, request.first_draw + request.n)
        asked = lm.draw_key(request) if isinstance(lm, Keyed) else None
        # A request for no draws is the model's to refuse.
        if asked is None or not draws or self._closed or self._is_left_behind():
            return await lm.generate(request, on_event)
        call = _Call(self, lm, asked, model, request, on_event, scope)
        return await call.answer({_key(asked, draw): draw for draw in draws})

    async def find(self, keys: Sequence[bytes]) -> dict[bytes, Draw]:
        """Those of the draws that are on disk."""
        with self._lock:
            if self._closed:
                return {}
            found = self._thread.submit(self._find, keys)
        return await asyncio.wrap_future(found)

    def store(self, draws: Iterable[NewDraw]) -> Future[None]:
        """Have draws written; who looks for them from now on finds them, written or not.

        Returns
        -------
        A future that is done when they are on disk. What is made of them should not be there
        before they are, so that a run that was cut off goes on as it would have done.
        """
        with self._lock:
            if self._closed:
                nothing: Future[None] = Future()
                nothing.set_result(None)
                return nothing
            self._unwritten += draws
            return self._thread.submit(self._write)

    def _is_left_behind(self) -> bool:
        """Whether this is a forked child, which has neither the thread nor a use of the file: a
        SQLite connection must not be carried across a fork."""
        return os.getpid() != self._owner

    def _find(self, keys: Sequence[bytes]) -> dict[bytes, Draw]:
        self._write()
        return self._store.get(keys)

    def _write(self) -> None:
        """Write all that has gathered since the last time, in one transaction."""
        with self._lock:
            draws, self._unwritten = self._unwritten, []
        if draws:
            self._store.put(draws)


class _Call:
    """One request on its way."""

    def __init__(
        self,
        pool: DrawPool,
        lm: LM,
        asked: str,
        model: str,
        request: Request,
        on_event: OnEvent | None,
        scope: Scope,
    ) -> None:
        self.pool, self.lm, self.model, self.scope = pool, lm, model, scope
        self.asked, self.request, self.on_event = asked, request, on_event
        self.failures = Failures()
        self.done: dict[bytes, Completion] = {}

    async def answer(self, wanted: dict[bytes, int]) -> list[Completion]:
        """The completions of the wanted draws (key → number), in their order.

        What nobody is making is claimed, then looked up, and made where it is not there. Only then,
        without a claim of its own, does the call wait for what others are making; where they gave
        up, it goes round again.

        Raises
        ------
        LMError : every sample failed.
        """
        while missing := [key for key in wanted if key not in self.done]:
            claims, others = self.pool.claims.take(missing)
            try:
                await self._find(claims)
                lacking = {wanted[key]: key for key in claims if key not in self.done}
                await run_all(self._make(run, lacking, claims) for run in _runs(lacking))
            finally:
                for key, claim in claims.items():
                    self.pool.claims.settle(key, claim, None)
            for key, claim in others.items():
                self._take(key, await claim.wait())
        completions = [self.done[key] for key in wanted]
        self.failures.check(completions)
        return completions

    async def _find(self, claims: dict[bytes, Claim]) -> None:
        found = await self.pool.find(list(claims))
        for key, claim in claims.items():
            draw = found.get(key)
            if self._take(key, draw):
                self.pool.claims.settle(key, claim, draw)

    async def _make(
        self, run: range, lacking: dict[int, bytes], claims: dict[bytes, Claim]
    ) -> None:
        """Make consecutive draws, store them, and give them to those who wait.

        What failed is not kept: whoever waits for it asks for it again.
        """
        request = replace(self.request, n=len(run), first_draw=run.start)
        completions = await self.failures.kept(
            lambda: self.lm.generate(request, self.on_event), run
        )
        self.done |= {lacking[c.draw]: c for c in completions if c.error is not None}
        made = {lacking[c.draw]: Draw(c, self.scope.origin) for c in completions if c.error is None}
        # A server may have been found to need other requests: these draws then have another key.
        is_as_asked = isinstance(self.lm, Keyed) and self.lm.draw_key(request) == self.asked
        kept = made if is_as_asked else {}
        written = self.pool.store(NewDraw(key, self.model, draw) for key, draw in kept.items())
        for key, draw in made.items():
            self.done[key] = draw.completion
            self.scope.counted.add(key)
            self.pool.claims.settle(key, claims[key], draw)
        await asyncio.wrap_future(written)

    def _take(self, key: bytes, draw: Draw | None) -> bool:
        """Answer with a draw that was there; False where it lacks what is asked for."""
        if draw is None:
            return False
        completion = draw.completion
        if self.request.logprobs:
            if completion.logprobs is None and completion.choice_logprobs is None:
                return False
        else:
            completion = replace(completion, logprobs=None)
        if draw.origin != self.scope.origin or key in self.scope.counted:
            completion = replace(completion, usage=_found(completion.usage))
        self.scope.counted.add(key)
        self.done[key] = completion
        if self.on_event is not None:
            if completion.reasoning:
                self.on_event(TokenDelta(completion.draw, completion.reasoning, is_reasoning=True))
            if completion.text:
                self.on_event(TokenDelta(completion.draw, completion.text))
        return True


def _found(usage: Usage) -> Usage:
    """What a draw counts that was found: nothing was decoded, and no prompt read."""
    return replace(usage, generated_tokens=0, cached_tokens=usage.prompt_tokens)


def _key(asked: str, draw: int) -> bytes:
    return blake2b(f"{asked}/{draw}".encode(), digest_size=16).digest()


def _runs(draws: Iterable[int]) -> list[range]:
    """Ascending numbers as ranges without gaps.

    >>> _runs([0, 1, 5, 6, 9])
    [range(0, 2), range(5, 7), range(9, 10)]
    """
    runs: list[range] = []
    for draw in draws:
        if runs and runs[-1].stop == draw:
            runs[-1] = range(runs[-1].start, draw + 1)
        else:
            runs.append(range(draw, draw + 1))
    return runs
