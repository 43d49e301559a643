"""Answer requests from a pool: reuse stored samples, and generate and store missing samples."""

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
    """Pool of stored samples and samples in progress. It may be used from several event loops.

    One thread reads and writes the file. Close the pool after use. If the pool is closed, requests
    are sent directly to the model.

    Parameters
    ----------
    path
        Path of the pool's file. The default is ``ARCHON_POOL``, or a file in the user's cache.
    max_bytes
        Maximum size of the file in bytes. The default is ``ARCHON_POOL_BYTES``, or 2 GB.

    Raises
    ------
    UsageError
        ``ARCHON_POOL_BYTES`` is not a number.
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
        if not self.is_open:
            return
        with self._lock:
            if self._closed:  # by another thread
                return
            self._closed = True
            self._thread.submit(self._write)
            self._thread.submit(self._store.close)
        self._thread.shutdown()

    async def find(self, keys: Sequence[bytes]) -> dict[bytes, StoredSample]:
        """Look up samples by key; return the samples that are stored."""
        with self._lock:
            if self._closed:
                return {}
            found = self._thread.submit(self._find, keys)
        return await asyncio.wrap_future(found)

    def store(self, samples: Iterable[NewSample]) -> Future[None]:
        """Schedule samples for writing. ``find`` can return them immediately.

        Returns
        -------
        A future that is done when the samples are on disk. Wait for it before writing anything
        derived from them, so that an interrupted run resumes with the same samples.
        """
        with self._lock:
            if self._closed:
                done: Future[None] = Future()
                done.set_result(None)
                return done
            self._unwritten += samples
            return self._thread.submit(self._write)

    @property
    def is_open(self) -> bool:
        """False after ``close``, and in a forked child, where the SQLite connection is unusable."""
        return not self._closed and os.getpid() == self._owner

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
    """Answers one item's requests from a pool (see ``pooling``)."""

    pool: DrawPool
    origin: str
    counted: set[bytes] = field(default_factory=set)
    """Keys of the samples that are already included in the item's usage."""

    async def generate(
        self, lm: LM, model: str, request: Request, on_event: OnEvent | None
    ) -> list[Completion]:
        """Return the completions for a request; generate only the samples that the pool lacks.

        Parameters
        ----------
        model
            Name of the model under which ``archon cache`` lists the new samples.

        Raises
        ------
        LMError, EngineError
            The model failed.
        """
        indices = range(request.first_draw, request.first_draw + request.n)
        request_key = lm.draw_key(request) if isinstance(lm, SupportsDrawKey) else None
        # A request for no samples also goes to the model, which refuses it.
        if request_key is None or not indices or not self.pool.is_open:
            return await lm.generate(request, on_event)
        call = _PoolRequest(self, lm, model, request, request_key, on_event)
        return await call.answer({_key(request_key, index): index for index in indices})


_SCOPE: ContextVar[PoolScope | None] = ContextVar("archon_pool", default=None)


@contextmanager
def pooling(pool: DrawPool | None, origin: str) -> Iterator[None]:
    """Use a pool for one item, in the current task and the tasks that it starts.

    A stored sample with the same ``origin`` was generated for this item in an earlier session,
    which was interrupted before it wrote the item's record. Its usage is counted once, as if it
    were generated now. Therefore, records do not depend on where a run was interrupted.

    Parameters
    ----------
    pool
        The pool, or None to use no pool.
    origin
        Unique identifier of the run, the item and the epoch. No other run may ever use it, even
        after this run is deleted.
    """
    token = _SCOPE.set(None if pool is None else PoolScope(pool, origin))
    try:
        yield
    finally:
        _SCOPE.reset(token)


def active_scope() -> PoolScope | None:
    """Return the current task's ``PoolScope``, or None outside a ``pooling`` block."""
    return _SCOPE.get()


@dataclass(slots=True, eq=False)
class _PoolRequest:
    """A request that is being answered from a pool."""

    scope: PoolScope
    lm: LM
    model: str
    request: Request
    request_key: str
    on_event: OnEvent | None
    failures: Failures = field(default_factory=Failures)
    done: dict[bytes, Completion] = field(default_factory=dict)

    async def answer(self, wanted: dict[bytes, int]) -> list[Completion]:
        """Return the completions for the wanted samples (key → sample number), in order.

        1. Claim the samples that no other call is generating. 2. Look up the claimed samples in the
        file, generate missing ones, and settle the claims. 3. Wait for the samples that other calls
        are generating. Repeat all steps for samples that failed.

        Raises
        ------
        LMError
            Every sample failed.
        """
        while missing := [key for key in wanted if key not in self.done]:
            claims, others = self.scope.pool.claims.take(missing)
            try:
                await self._find(claims)
                lacking = {wanted[key]: key for key in claims if key not in self.done}
                await run_all(self._generate(run, lacking, claims) for run in _ranges(lacking))
            finally:
                for key, claim in claims.items():
                    self.scope.pool.claims.settle(key, claim, None)
            for key, claim in others.items():
                self._take(key, await claim.wait())
        completions = [self.done[key] for key in wanted]
        self.failures.check(completions)
        return completions

    async def _find(self, claims: dict[bytes, Claim]) -> None:
        found = await self.scope.pool.find(list(claims))
        for key, claim in claims.items():
            sample = found.get(key)
            if self._take(key, sample):
                self.scope.pool.claims.settle(key, claim, sample)

    async def _generate(
        self, run: range, lacking: dict[int, bytes], claims: dict[bytes, Claim]
    ) -> None:
        """Generate consecutively numbered samples, store them, and pass them to waiting calls.

        Failed samples are not stored. Calls that are waiting for them generate them again.
        """
        request = replace(self.request, n=len(run), first_draw=run.start)
        completions = await self.failures.catch(
            lambda: self.lm.generate(request, self.on_event), run
        )
        self.done |= {lacking[c.draw]: c for c in completions if c.error is not None}
        pool, origin = self.scope.pool, self.scope.origin
        new = {lacking[c.draw]: StoredSample(c, origin) for c in completions if c.error is None}
        # If the client has omitted a field that the server rejects, the samples' key has changed.
        has_same_key = (
            isinstance(self.lm, SupportsDrawKey) and self.lm.draw_key(request) == self.request_key
        )
        stored = new if has_same_key else {}
        written = pool.store(NewSample(key, self.model, one) for key, one in stored.items())
        for key, sample in new.items():
            self.done[key] = sample.completion
            self.scope.counted.add(key)
            pool.claims.settle(key, claims[key], sample)
        await asyncio.wrap_future(written)

    def _take(self, key: bytes, sample: StoredSample | None) -> bool:
        """Use a stored sample in the answer.

        Returns
        -------
        False if there is no sample, or if it lacks the requested log-probabilities.
        """
        if sample is None:
            return False
        completion = sample.completion
        if self.request.logprobs:
            if completion.logprobs is None and completion.choice_logprobs is None:
                return False
        elif completion.top_logprobs is None:  # they come with the log-probabilities
            completion = replace(completion, logprobs=None)
        if sample.origin != self.scope.origin or key in self.scope.counted:
            completion = replace(completion, usage=_reused(completion.usage))
        self.scope.counted.add(key)
        self.done[key] = completion
        if self.on_event is not None:
            send_completion(completion, self.on_event)
        return True


def _reused(usage: Usage) -> Usage:
    """Return a reused sample's usage, with no generated tokens and a cached prompt."""
    return replace(usage, generated_tokens=0, cached_tokens=usage.prompt_tokens)


def _key(request_key: str, index: int) -> bytes:
    return blake2b(f"{request_key}/{index}".encode(), digest_size=16).digest()


def _ranges(numbers: Iterable[int]) -> list[range]:
    """Group ascending numbers into ranges without gaps.

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
