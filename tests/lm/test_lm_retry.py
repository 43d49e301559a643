from collections.abc import Awaitable, Callable
from email.utils import formatdate

import pytest

from archon.errors import LMError
from archon.lm.retry import Backoff, Clock, retry_after_seconds, retrying


class FakeTime:
    """A clock that advances only during sleeps, and always has maximum jitter."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.waits: list[float] = []
        self.clock = Clock(
            monotonic=lambda: self.now,
            wall=lambda: self.now,
            sleep=self._sleep,
            uniform=lambda low, high: high,
        )

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def failing(*errors: LMError) -> Callable[[], Awaitable[str]]:
    left = list(errors)

    async def attempt() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return attempt


def busy(seconds: float | None = None) -> LMError:
    return LMError("busy", retryable=True, retry_after_seconds=seconds)


async def attempted(
    time: FakeTime, *errors: LMError, timeout_seconds: float = 100, attempts: int = 6
) -> str:
    return await retrying(
        failing(*errors),
        name="far",
        timeout_seconds=timeout_seconds,
        backoff=Backoff(max_attempts=attempts, base_seconds=1, max_seconds=4),
        clock=time.clock,
    )


async def test_bounds_of_the_waits_double_up_to_the_maximum() -> None:
    time = FakeTime()
    assert await attempted(time, *[busy()] * 5) == "done"
    assert time.waits == [1, 2, 4, 4, 4]


async def test_the_wait_is_sampled_between_0_and_its_bound() -> None:
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return low

    clock = Clock(uniform=uniform)
    backoff = Backoff(base_seconds=1)
    assert backoff.wait_seconds(3, None, clock) == 0
    assert drawn == [(0, 4)]


async def test_a_retry_waits_at_least_as_long_as_the_server_asked() -> None:
    time = FakeTime()
    assert await attempted(time, busy(7)) == "done"
    assert time.waits == [8]  # and not at the same moment as everybody else


async def test_an_error_that_is_not_retryable_is_raised_at_once() -> None:
    time = FakeTime()
    with pytest.raises(LMError, match="forbidden"):
        await attempted(time, LMError("forbidden"))
    assert time.waits == []


async def test_the_last_attempt_s_error_is_raised() -> None:
    time = FakeTime()
    with pytest.raises(LMError, match=r"^last$"):
        await attempted(time, busy(), busy(), LMError("last", retryable=True), attempts=3)
    assert len(time.waits) == 2


async def test_a_wait_beyond_the_deadline_is_not_started() -> None:
    time = FakeTime()
    with pytest.raises(LMError, match=r"far: no answer within 10 seconds.*busy") as caught:
        await attempted(time, busy(60), timeout_seconds=10)
    assert time.waits == []
    assert caught.value.retryable
    assert caught.value.retry_after_seconds == 60


async def test_retries_end_with_the_deadline() -> None:
    time = FakeTime()
    with pytest.raises(LMError, match="no answer within 6 seconds"):
        await attempted(time, *[busy()] * 10, timeout_seconds=6, attempts=20)
    assert time.waits == [1, 2]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        (" 1.5 ", 1.5),
        ("0", 0.0),
        (formatdate(1_000_090, usegmt=True), 90.0),
        (formatdate(999_000, usegmt=True), 0.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("-3", None),
        ("9" * 400, None),
        ("Mon, 99 Jan 99999 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, FakeTime().clock) == seconds
