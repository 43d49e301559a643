"""Run a program in a worker process, which executes pieces of code one after another.

The interpreter stops a program at its limits. If it cannot do so, for example within one long
operation, one of three timers kills the process: the pool's, this module's, or the operating
system's (``worker_process.py``). The last one also ends a worker whose parent has died. Cancelling
a call kills its process immediately.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic_monty import (
    AsyncMonty,
    AsyncMontySession,
    MontyCrashedError,
    MontyError,
    MontyRuntimeError,
    MontySyntaxError,
    OSPolicy,
)

from archon.errors import MissingExtraError, SandboxError
from archon.sandbox import worker_process
from archon.sandbox.outcome import Kind, Outcome, SandboxLimits
from archon.sandbox.values import UnfitValueError, as_json

GRACE_SECONDS = 0.5
"""Grace period between the time limit, at which the interpreter should stop the program, and
killing it."""

_MAX_PROCESSES = 1 << 20
"""Maximum number of workers in the pool. It is never reached, because ``Sandbox`` limits the number
of programs. A call that waits in the pool could not be cancelled without leaving a process
behind."""
_PROGRAM_FILE = "<python-input-0>"
"""File name that the interpreter uses for a session's first piece of code, which is the program."""
_MAX_ERROR = 500
_POLICY: OSPolicy = {
    "datetime": datetime(2000, 1, 1),
    "timezone": "utc",
    "sleep": "zero",
    "random_start": {"seed": 0},
}
_LIMIT_ERRORS: tuple[tuple[str, Kind], ...] = (
    ("TimeoutError: feed time limit exceeded", "timeout"),
    ("MemoryError: memory limit exceeded", "memory"),
    ("MemoryError: the worker exceeded its memory limit", "memory"),
)


@dataclass(frozen=True, slots=True)
class StepResult:
    """Result of one piece of code in a session."""

    kind: Kind
    value: Any = None
    error: str | None = None
    exception: BaseException | None = None
    """The exception that the program raised, if any."""


class Workers:
    """Pool of worker processes, each of which runs one session.

    Raises
    ------
    MissingExtraError
        The interpreter's executable is not installed.
    """

    def __init__(self) -> None:
        try:
            self._pool = AsyncMonty(
                min_processes=0,
                max_processes=_MAX_PROCESSES,
                max_checkouts_per_worker=1,
                feed_duration_limit_grace=GRACE_SECONDS,
            )
        except FileNotFoundError:
            raise MissingExtraError("pydantic_monty_runtime", "sandbox") from None

    @asynccontextmanager
    async def session(self, limits: SandboxLimits) -> AsyncIterator[ProgramSession]:
        """Start a process for one program; the end of the context ends the process.

        Raises
        ------
        SandboxError
            No process can be started.
        """
        checkout = self._pool.checkout(
            limits={
                "max_feed_duration_secs": limits.seconds,
                "max_memory": limits.memory_bytes,
            },
            os_policy=_POLICY,
        )
        pid = None
        try:
            await self._start(checkout)
            pid = checkout.worker_pid
            assert pid is not None
            worker_process.limit_process(pid, limits)
            yield ProgramSession(checkout, limits)
        finally:
            pid = pid or checkout.worker_pid
            try:
                await checkout.__aexit__(None, None, None)
            finally:
                if pid is not None:
                    await worker_process.end(pid)

    async def _start(self, checkout: AsyncMontySession) -> None:
        try:
            await self._pool.__aenter__()
            await _await_despite_cancellation(checkout.__aenter__())
        except (MontyError, RuntimeError, OSError) as error:
            raise SandboxError(f"cannot start a sandbox process for a program: {error}") from None


async def _await_despite_cancellation(call: Awaitable[object]) -> None:
    """Await a call; if the caller is cancelled, wait until the call has ended before raising.

    If the start of a process were interrupted, the process would never be ended. Starting takes
    only milliseconds.
    """
    task = asyncio.ensure_future(call)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise


class ProgramSession:
    """A program in its process. Its pieces of code share variables and limits."""

    def __init__(self, checkout: AsyncMontySession, limits: SandboxLimits) -> None:
        self._checkout, self._limits = checkout, limits
        self._printed = _Printed(limits.output_bytes)
        self._start = time.perf_counter()
        self._deadline = asyncio.get_running_loop().time() + limits.seconds + GRACE_SECONDS

    async def feed(self, code: str, inputs: Mapping[str, Any] | None = None) -> StepResult:
        """Run a piece of code; its value is the last statement's value, if that is an expression.

        Parameters
        ----------
        inputs
            Variables that are defined before the code runs.
        """
        return self._too_long(code) or await self.attempt(
            lambda: self._checkout.feed_run(
                code, inputs=dict(inputs or {}), print_callback=self._printed
            )
        )

    async def start(self, code: str) -> StepResult:
        """Run a piece of code until it uses an undefined name.

        The value is a ``pydantic_monty`` snapshot, or a ``MontyComplete`` if the code has ended.
        """
        return self._too_long(code) or await self.attempt(
            lambda: self._checkout.feed_start(code, print_callback=self._printed)
        )

    async def attempt(self, call: Callable[[], Awaitable[Any]]) -> StepResult:
        """Call the interpreter within the remaining limits; convert errors to results."""
        loop = asyncio.get_running_loop()
        try:
            task = asyncio.ensure_future(call())
            self._printed.on_full = lambda: loop.call_soon_threadsafe(task.cancel)
            async with asyncio.timeout_at(self._deadline):
                result = StepResult("ok", await task)
        except (MontySyntaxError, MontyRuntimeError) as error:
            result = self._raised(error)
        except TimeoutError:
            result = self._exceeded("timeout")
        except MontyCrashedError as error:
            result = (
                self._exceeded("timeout")
                if error.timed_out
                else StepResult("killed", error=str(error))
            )
        except RuntimeError as error:  # the worker broke the protocol and was killed
            result = StepResult("killed", error=str(error)[:_MAX_ERROR])
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if not self._printed.full or (current is not None and current.cancelling()):
                raise
        return self._exceeded("output") if self._printed.full else result

    def outcome(self, result: StepResult) -> Outcome:
        """Convert a result to an outcome, including all text printed in the session so far."""
        kind, error, value = result.kind, result.error, None
        if kind == "ok":
            try:
                value = as_json(result.value, self._limits.output_bytes)
            except UnfitValueError as reason:
                kind, error = "output", str(reason)
        seconds = time.perf_counter() - self._start
        return Outcome(kind, value, self._printed.text, error, seconds)

    @property
    def printed(self) -> str:
        """Text printed so far."""
        return self._printed.text

    def _too_long(self, code: str) -> StepResult | None:
        size = len(code.encode(errors="replace"))
        if size <= self._limits.code_bytes:
            return None
        reason = f"the program has {size:,} bytes; {self._limits.code_bytes:,} are allowed"
        return StepResult("error", error=reason)

    def _raised(self, error: MontySyntaxError | MontyRuntimeError) -> StepResult:
        text = error.display("type-msg")
        for beginning, kind in _LIMIT_ERRORS:
            if text.startswith(beginning):
                return self._exceeded(kind)
        lines = [frame.line for frame in error.traceback() if frame.filename == _PROGRAM_FILE]
        place = f" (line {lines[-1]})" if lines else ""
        return StepResult("error", error=text[:_MAX_ERROR] + place, exception=error.exception())

    def _exceeded(self, kind: Kind) -> StepResult:
        limits = self._limits
        bounds: Mapping[str, str] = {
            "timeout": f"it ran for more than {limits.seconds:g} seconds",
            "memory": f"it used more than {limits.memory_bytes:,} bytes of memory",
            "output": f"it printed more than {limits.output_bytes:,} bytes",
        }
        return StepResult(kind, error=bounds[kind])


class _Printed:
    """Collects printed text. Called in a thread of the interpreter's library."""

    def __init__(self, max_bytes: int) -> None:
        self._parts: list[str] = []
        self._bytes_left = max_bytes
        self.full = False
        self.on_full: Callable[[], object] = lambda: None

    def __call__(self, stream: str, text: str) -> None:
        if self.full:
            return
        data = text.encode(errors="replace")
        if stream == "stdout" and data:
            self._parts.append(data[: self._bytes_left].decode(errors="ignore"))
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            self.full = True
            self.on_full()

    @property
    def text(self) -> str:
        return "".join(self._parts)
