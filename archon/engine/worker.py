"""The thread that runs an engine's steps, and its asyncio interface."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from archon.engine.engine import Engine
from archon.engine.process import claim_process
from archon.engine.sampling.request import Generation, GenerationRequest
from archon.engine.scheduling.sequence import Prompt
from archon.errors import ArchonError, EngineError


@dataclass(slots=True, eq=False)
class _Call:
    """A request and the future on which its caller waits."""

    request: GenerationRequest
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[list[Generation]]
    prompt: Prompt | None = None

    def resolve(self, result: list[Generation] | BaseException) -> None:
        """Pass the result to the caller's event loop; if the loop is closed, drop the result."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._set, result)

    def _set(self, result: list[Generation] | BaseException) -> None:
        if self.future.done():
            return
        if isinstance(result, BaseException):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


class EngineWorker:
    """Runs an engine in its own thread and batches the calls of all event loops together.

    The thread starts with the first call and sleeps while there is no work.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._owner = os.getpid()
        self._inbox: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._calls: dict[Prompt, _Call] = {}

    async def generate(self, request: GenerationRequest) -> list[Generation]:
        """Return the request's samples in order. Cancelling the call frees its memory.

        Raises
        ------
        EngineError
            The engine rejects the request, fails or is closed; or this process was forked from
            the process that runs the engine.
        """
        claim_process()
        loop = asyncio.get_running_loop()
        call = _Call(request, loop, loop.create_future())
        self._post(lambda: self._add(call))
        try:
            return await call.future
        except asyncio.CancelledError:
            with contextlib.suppress(EngineError):  # ``close`` has already cancelled it
                self._post(lambda: self._cancel(call))
            raise

    def close(self) -> None:
        """Stop the thread; pending calls fail with ``EngineError``."""
        if os.getpid() != self._owner:
            return  # a forked child has no thread to stop, and its copy of the lock may be locked
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _post(self, action: Callable[[], None]) -> None:
        with self._wake:
            if self._closed:
                raise EngineError("the engine is closed")
            self._inbox.append(action)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="archon-engine", daemon=True)
                self._thread.start()
            self._wake.notify()

    # ------------------------------------------------------------------- in the engine's thread

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._inbox or self._closed or self.engine.has_work):
                    self._wake.wait()
                actions, closed = list(self._inbox), self._closed
                self._inbox.clear()
            for action in actions:
                action()
            if closed:
                self._fail_all(EngineError("the engine is closed"))
                return
            if self.engine.has_work:
                self._step()

    def _add(self, call: _Call) -> None:
        if call.future.cancelled():
            return
        try:
            call.prompt = self.engine.add(call.request)
        except ArchonError as error:
            call.resolve(error)
        else:
            self._calls[call.prompt] = call

    def _cancel(self, call: _Call) -> None:
        if call.prompt is not None and self._calls.pop(call.prompt, None) is not None:
            self.engine.cancel(call.prompt)

    def _step(self) -> None:
        try:
            finished = self.engine.step()
        except Exception as error:  # whatever the error, no caller may wait forever
            failure = EngineError(f"the engine failed: {type(error).__name__}: {error}")
            failure.__cause__ = error
            self._fail_all(failure)
            return
        for prompt, generations in finished.items():
            self._calls.pop(prompt).resolve(generations)
        while self.engine.failed:
            prompt, failure = self.engine.failed.popitem()
            self._calls.pop(prompt).resolve(failure)

    def _fail_all(self, error: EngineError) -> None:
        for prompt, call in list(self._calls.items()):
            self.engine.cancel(prompt)
            call.resolve(error)
        self._calls.clear()
