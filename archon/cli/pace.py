"""Speed and remaining time of a running evaluation."""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 10.0


class Pace:
    """The recent rate of a growing count.

    The rate covers the last ``window_seconds``, and a longer time if the count has not grown since
    then: a count that grows in rare, large steps shows neither peaks nor zeros.
    """

    def __init__(self, window_seconds: float = WINDOW_SECONDS) -> None:
        self._window_seconds = window_seconds
        self._growth: deque[tuple[float, int]] = deque()
        """(time at which the count was first seen, count)."""

    def add(self, now: float, count: int) -> None:
        """Record the current count."""
        if not self._growth or count > self._growth[-1][1]:
            self._growth.append((now, count))
        while len(self._growth) > 2 and self._growth[1][0] <= now - self._window_seconds:
            self._growth.popleft()

    def per_second(self, now: float) -> float | None:
        """Return the rate; None as long as the count has not grown."""
        if len(self._growth) < 2:
            return None
        (since, before), (_, count) = self._growth[0], self._growth[-1]
        return (count - before) / (now - since) if now > since else None


def seconds_left(seconds: float, num_done: int, num_left: int, num_running: int) -> float | None:
    """Estimate the remaining time from the pace so far; None before anything is done.

    Parameters
    ----------
    seconds
        Time since the work started.
    num_done
        Items that were done in this time.
    num_left
        Items that are not done.
    num_running
        Items among them that have started. They count as half done; otherwise the estimate would be
        far too long after the first of many concurrent answers.

    >>> seconds_left(60, num_done=20, num_left=100, num_running=20)
    180.0
    """
    if not num_done:
        return None
    half_done = num_running / 2
    return seconds * (num_left - half_done) / (num_done + half_done)


def duration(seconds: float) -> str:
    """Format a time like a clock.

    >>> duration(72.4), duration(3723)
    ('1:12', '1:02:03')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
