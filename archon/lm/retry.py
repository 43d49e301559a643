"""Retry with a deadline, exponential backoff with full jitter, and support for Retry-After.

With full jitter, each delay is sampled uniformly between 0 and a growing bound. Clients that fail
at the same time therefore retry at different times (Brooker, "Exponential Backoff and Jitter",
2015).
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
    """Functions for time and randomness, which are replaced in tests."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform


@dataclass(frozen=True, slots=True)
class Backoff:
    """Number of attempts, and the delays between them."""

    max_attempts: int = 6
    base_seconds: float = 0.5
    """Upper bound on the first delay. The bound doubles with each failure."""
    max_seconds: float = 30.0
    """Maximum of the bound, regardless of the number of failures."""

    def wait_seconds(self, num_failures: int, retry_after: float | None, clock: Clock) -> float:
        """Return the delay after ``num_failures`` failures: at least ``retry_after``, if given."""
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
    """Make attempts until one succeeds, and return its result.

    Parameters
    ----------
    name
        Name of the model in the error about the timeout.

    Raises
    ------
    LMError
        An error is not retryable, all attempts failed, or the next attempt would begin after
        ``timeout_seconds``.
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
    raise AssertionError("max_attempts must be at least 1")


def _timed_out(name: str, timeout_seconds: float, failure: LMError | None) -> LMError:
    reason = f"{name}: no answer within {timeout_seconds:g} seconds"
    wait = None
    if failure is not None:
        reason += f"; last failure: {failure.reason}"
        wait = failure.retry_after_seconds
    return LMError(reason, retryable=True, retry_after_seconds=wait)


def retry_after_seconds(value: str | None, clock: Clock) -> float | None:
    """Return the delay in seconds that a Retry-After header requests.

    Parameters
    ----------
    value
        The header's value, in seconds or as a date.

    Returns
    -------
    The delay, or None if the header is missing or invalid.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.replace(".", "", 1).isdigit() and len(value) <= 12:
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - clock.wall())
    except (ValueError, OverflowError, TypeError):
        return None
