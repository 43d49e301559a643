"""How fast an evaluation goes, and how long it will still take."""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 10.0


class Pace:
    """How fast a count has grown of late.

    It is looked at over the last ``window_seconds``, and over longer where it has not grown since:
    what comes in rare large pieces shows neither peaks nor zeros.
    """

    def __init__(self, window_seconds: float = WINDOW_SECONDS) -> None:
        self._window_seconds = window_seconds
        self._growth: deque[tuple[float, int]] = deque()
        """When the count was first seen at a value, and the value."""

    def note(self, now: float, count: int) -> None:
        """The count as it is now."""
        if not self._growth or count > self._growth[-1][1]:
            self._growth.append((now, count))
        while len(self._growth) > 2 and self._growth[1][0] <= now - self._window_seconds:
            self._growth.popleft()

    def per_second(self, now: float) -> float | None:
        """The rate; None as long as the count has not grown."""
        if len(self._growth) < 2:
            return None
        (since, before), (_, count) = self._growth[0], self._growth[-1]
        return (count - before) / (now - since) if now > since else None


def seconds_left(seconds: float, num_done: int, num_left: int, num_under_way: int) -> float | None:
    """Time that the rest will take at the pace so far; None before anything is done.

    Parameters
    ----------
    seconds
        Since the work began.
    num_done
        Done in these seconds.
    num_left
        Not done yet, of which ``num_under_way`` have begun. On average those are half done; without
        them the first answers of many at once would promise far too long a wait.

    >>> seconds_left(60, num_done=20, num_left=100, num_under_way=20)
    180.0
    """
    if not num_done:
        return None
    begun = num_under_way / 2
    return seconds * (num_left - begun) / (num_done + begun)


def duration(seconds: float) -> str:
    """A time as clocks show it.

    >>> duration(72.4), duration(3723)
    ('1:12', '1:02:03')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
