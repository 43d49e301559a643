"""Answers requests from the pool: stored samples are reused, missing ones generated and stored."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from types import TracebackType

from archon.lm.base import LM, SupportsDrawKey
from archon.lm.concurrency import run_all
from archon.lm.pool.claims import Claim, Claims
from archon.lm.pool.store import (
    NewSample,
    SampleStore,
    StoredSample,
    max_pool_bytes,
    pool_path,
)
from archon.lm.reasoning import send_completion
from archon.lm.sample_failures import Failures
from archon.types import Completion, OnEvent, Request, Usage


class DrawPool:
    """Samples on disk and in progress; safe to use from several event loops.

    One thread reads and writes the file. Close the pool after use; a closed pool forwards requests.

    Parameters
    ----------
    path
        The file; by default the one in the user's cache.
    max_bytes
        Its limit; by default ``ARCHON_POOL_BYTES``, or 2 GB.

    Raises
    ------
    UsageError
        ``ARCHON_POOL_BYTES`` is not a number of bytes.
    """

    def __init__(self, path: Path | None = None, max_bytes: int | None = None) -> None:
        limit = max_pool_bytes() if max_bytes is None else max_bytes
        self._store = SampleStore(path or pool_path(), limit)
        self.claims = Claims()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="archon-pool")
        self._lock = threading.Lock()
        self._unwritten: list[NewSample] = []
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
        """Write pending samples, and close the file."""
        if self._is_forked_child():
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._thread.submit(self._write)
            self._thread.submit(self._store.close)
        self._thread.shutdown()

    async def generate(
        self, lm: LM, model: str, request: Request, on_event: OnEvent | None, scope: PoolScope
    ) -> list[Completion]:
        """The model's completions for a request: stored ones, and generated ones where missing.

        Parameters
        ----------
        model
            Its name, for display.
        scope
            The item that the request belongs to.

        Raises
        ------
        LMError, EngineError
            As the model raises them.
        """
        draws = range(request.first_draw, request.first_draw + request.n)
        request_key = lm.draw_key(request) if isinstance(lm, SupportsDrawKey) else None
        # The model refuses a request for no samples.
        if request_key is None or not draws or self._closed or self._is_forked_child():
            return await lm.generate(request, on_event)
        call = _PoolRequest(self, lm, request_key, model, request, on_event, scope)
        return await call.answer({_key(request_key, draw): draw for draw in draws})

    async def find(self, keys: Sequence[bytes]) -> dict[bytes, StoredSample]:
        """The stored samples among the keys."""
        with self._lock:
            if self._closed:
                return {}
            found = self._thread.submit(self._find, keys)
        return await asyncio.wrap_future(found)

    def store(self, samples: Iterable[NewSample]) -> Future[None]:
        """Schedule samples for writing; from now on ``find`` returns them.

        Returns
        -------
        A future that is done when they are on disk. Write nothing derived from them earlier, so
        that an interrupted run resumes with the same samples.
        """
        with self._lock:
            if self._closed:
                nothing: Future[None] = Future()
                nothing.set_result(None)
                return nothing
            self._unwritten += samples
            return self._thread.submit(self._write)

    def _is_forked_child(self) -> bool:
        """Whether this is a forked child, which has no thread and must not use the file: a SQLite
        connection must not cross a fork."""
        return os.getpid() != self._owner

    def _find(self, keys: Sequence[bytes]) -> dict[bytes, StoredSample]:
        self._write()
        return self._store.get(keys)

    def _write(self) -> None:
        """Write all pending samples in one transaction."""
        with self._lock:
            samples, self._unwritten = self._unwritten, []
        if samples:
            self._store.put(samples)


@dataclass(frozen=True, slots=True, eq=False)
class PoolScope:
    """One item that is answered from a pool."""

    pool: DrawPool
    origin: str
    counted: set[bytes] = field(default_factory=set)
    """Keys of samples whose generation the item's usage already includes."""


_SCOPE: ContextVar[PoolScope | None] = ContextVar("archon_pool", default=None)


@contextmanager
def pooling(pool: DrawPool | None, origin: str) -> Iterator[None]:
    """Answer one item from a pool, in this task and its children.

    A sample found under the same origin was generated for this item, in a session that ended before
    the item's record was written. Its usage is then counted once as if it were generated now, so
    that records do not depend on where a run was interrupted.

    Parameters
    ----------
    pool
        None uses no pool.
    origin
        Names run, item and epoch; no other run may use it, even if this one is deleted.
    """
    token = _SCOPE.set(None if pool is None else PoolScope(pool, origin))
    try:
        yield
    finally:
        _SCOPE.reset(token)


def active_scope() -> PoolScope | None:
    """The item that the running task answers; None if it uses no pool."""
    return _SCOPE.get()


class _PoolRequest:
    """One request in progress."""

    def __init__(
        self,
        pool: DrawPool,
        lm: LM,
        request_key: str,
        model: str,
        request: Request,
        on_event: OnEvent | None,
        scope: PoolScope,
    ) -> None:
        self.pool, self.lm, self.model, self.scope = pool, lm, model, scope
        self.request_key, self.request, self.on_event = request_key, request, on_event
        self.failures = Failures()
        self.done: dict[bytes, Completion] = {}

    async def answer(self, wanted: dict[bytes, int]) -> list[Completion]:
        """The completions of the wanted samples (key → number), in order.

        Samples that no other call generates are claimed, then looked up, then generated if missing.
        Only then, holding no claim, the call waits for samples that others generate; it repeats
        where they gave up.

        Raises
        ------
        LMError
            Every sample failed.
        """
        while missing := [key for key in wanted if key not in self.done]:
            claims, others = self.pool.claims.take(missing)
            try:
                await self._find(claims)
                lacking = {wanted[key]: key for key in claims if key not in self.done}
                await run_all(self._generate(run, lacking, claims) for run in _ranges(lacking))
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
            sample = found.get(key)
            if self._take(key, sample):
                self.pool.claims.settle(key, claim, sample)

    async def _generate(
        self, run: range, lacking: dict[int, bytes], claims: dict[bytes, Claim]
    ) -> None:
        """Generate consecutive samples, store them, and pass them to waiting calls.

        Failed samples are not stored: a waiting call requests them again.
        """
        request = replace(self.request, n=len(run), first_draw=run.start)
        completions = await self.failures.catch(
            lambda: self.lm.generate(request, self.on_event), run
        )
        self.done |= {lacking[c.draw]: c for c in completions if c.error is not None}
        origin = self.scope.origin
        made = {lacking[c.draw]: StoredSample(c, origin) for c in completions if c.error is None}
        # The request may have been adapted to the server: these samples then have another key.
        has_same_key = (
            isinstance(self.lm, SupportsDrawKey) and self.lm.draw_key(request) == self.request_key
        )
        kept = made if has_same_key else {}
        written = self.pool.store(NewSample(key, self.model, one) for key, one in kept.items())
        for key, sample in made.items():
            self.done[key] = sample.completion
            self.scope.counted.add(key)
            self.pool.claims.settle(key, claims[key], sample)
        await asyncio.wrap_future(written)

    def _take(self, key: bytes, sample: StoredSample | None) -> bool:
        """Answer with a stored sample; False if it lacks requested log-probabilities."""
        if sample is None:
            return False
        completion = sample.completion
        if self.request.logprobs:
            if completion.logprobs is None and completion.choice_logprobs is None:
                return False
        else:
            completion = replace(completion, logprobs=None)
        if sample.origin != self.scope.origin or key in self.scope.counted:
            completion = replace(completion, usage=_reused(completion.usage))
        self.scope.counted.add(key)
        self.done[key] = completion
        if self.on_event is not None:
            send_completion(completion, self.on_event)
        return True


def _reused(usage: Usage) -> Usage:
    """The usage of a reused sample: nothing was decoded, and the prompt was cached."""
    return replace(usage, generated_tokens=0, cached_tokens=usage.prompt_tokens)


def _key(request_key: str, draw: int) -> bytes:
    return blake2b(f"{request_key}/{draw}".encode(), digest_size=16).digest()


def _ranges(numbers: Iterable[int]) -> list[range]:
    """Ascending numbers as ranges without gaps.

    >>> _ranges([0, 1, 5, 6, 9])
    [range(0, 2), range(5, 7), range(9, 10)]
    """
    ranges: list[range] = []
    for number in numbers:
        if ranges and ranges[-1].stop == number:
            ranges[-1] = range(ranges[-1].start, number + 1)
        else:
            ranges.append(range(number, number + 1))
    return ranges
