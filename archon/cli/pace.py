"""Estimate the speed and the remaining time of a running evaluation."""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 10.0


class Pace:
    """The recent growth rate of a count, per second.

    The rate is measured over the last ``window_seconds``, or over a longer time if the count did
    not grow within them. This gives a smooth rate for a count that grows in rare, large steps.
    """

    def __init__(self, window_seconds: float = WINDOW_SECONDS) -> None:
        self._window_seconds = window_seconds
        self._growth: deque[tuple[float, int]] = deque()
        """(time at which the count was first recorded, count), in ascending order."""

    def add(self, now: float, count: int) -> None:
        """Record the current count."""
        if not self._growth or count > self._growth[-1][1]:
            self._growth.append((now, count))
        while len(self._growth) > 2 and self._growth[1][0] <= now - self._window_seconds:
            self._growth.popleft()

    def per_second(self, now: float) -> float | None:
        """Return the rate, or None if the count has never grown."""
        if len(self._growth) < 2:
            return None
        (since, before), (_, count) = self._growth[0], self._growth[-1]
        return (count - before) / (now - since) if now > since else None


def seconds_left(seconds: float, num_done: int, num_left: int, num_running: int) -> float | None:
    """Estimate the remaining seconds from the speed so far; return None if nothing is finished yet.

    Parameters
    ----------
    seconds
        Seconds since the work started.
    num_done
        Number of items finished in this time.
    num_left
        Number of unfinished items.
    num_running
        Number of unfinished items that have started. They count as half done; otherwise the
        estimate would be far too high after the first of many concurrent answers.

    >>> seconds_left(60, num_done=20, num_left=100, num_running=20)
    180.0
    """
    if not num_done:
        return None
    half_done = num_running / 2
    return seconds * (num_left - half_done) / (num_done + half_done)


def duration(seconds: float) -> str:
    """Format a duration as minutes and seconds, with hours if there are any.

    >>> duration(72.4), duration(3723)
    ('1:12', '1:02:03')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
