"""Trying again: exponential backoff with full jitter, Retry-After, and a deadline.

Full jitter draws each wait uniformly between 0 and the growing bound, so that many clients which
failed together do not come back together (Brooker, "Exponential Backoff and Jitter", 2015).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar

from archon.errors import LMError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Clock:
    """Time and chance, so that tests can stand in for both."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often to try, and how long to wait in between."""

    max_attempts: int = 6
    base_seconds: float = 0.5
    """Bound of the first wait; it doubles with each further one."""
    max_seconds: float = 30.0
    """The bound grows no further."""

    def wait_seconds(self, num_failures: int, retry_after: float | None, clock: Clock) -> float:
        """How long to wait after so many failures; not before ``retry_after`` where it is given."""
        bound = min(self.max_seconds, self.base_seconds * 2 ** (num_failures - 1))
        if retry_after is None:
            return clock.uniform(0, bound)
        return retry_after + clock.uniform(0, self.base_seconds)


async def retrying(
    attempt: Callable[[], Awaitable[T]],
    *,
    name: str,
    timeout_seconds: float,
    backoff: Backoff,
    clock: Clock,
) -> T:
    """The result of the first attempt that succeeds; ``name`` says in errors who is asked.

    Raises
    ------
    LMError : an attempt failed in a way that no retry mends; the attempts are used up; the next
        wait would pass the deadline; or ``timeout_seconds`` passed in all.
    """
    deadline = clock.monotonic() + timeout_seconds
    failure: LMError | None = None
    for number in range(1, backoff.max_attempts + 1):
        try:
            async with asyncio.timeout(max(0, deadline - clock.monotonic())):
                return await attempt()
        except TimeoutError:
            raise _timed_out(name, timeout_seconds, failure) from None
        except LMError as error:
            if not error.retryable or number == backoff.max_attempts:
                raise
            failure = error
        wait = backoff.wait_seconds(number, failure.retry_after_seconds, clock)
        if clock.monotonic() + wait >= deadline:
            raise _timed_out(name, timeout_seconds, failure)
        await clock.sleep(wait)
    raise AssertionError("a backoff makes at least one attempt")


def _timed_out(name: str, timeout_seconds: float, failure: LMError | None) -> LMError:
    reason = f"{name}: no answer within {timeout_seconds:g} seconds"
    if failure is None:
        return LMError(reason, retryable=True)
    return LMError(
        f"{reason}; the last failure: {failure.reason}",
        retryable=True,
        retry_after_seconds=failure.retry_after_seconds,
    )


def retry_after_seconds(value: str | None, clock: Clock) -> float | None:
    """What a Retry-After header asks for: seconds, or a date; None where it cannot be read."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.replace(".", "", 1).isdigit() and len(value) <= 12:
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - clock.wall())
    except (ValueError, OverflowError, TypeError):
        return None
