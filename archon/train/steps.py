"""The way of every training through its steps: told, saved, interrupted gently."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OnStep = Callable[[int, float], None]
"""(step, what it came to), after each step."""
OnProgress = Callable[[str, int, int], None]
"""(what is being done, how much of it is done, how much there is), now and then."""


def take_steps(
    steps: range,
    take: Callable[[int], float],
    save: Callable[[], None],
    save_every: int,
    on_step: OnStep | None,
) -> None:
    """Take the steps that are left, saving now and then, after the last, and when interrupted.

    Parameters
    ----------
    take : takes a step; returns what it came to.
    save : keeps where the training stands.

    Raises
    ------
    KeyboardInterrupt : after the step that was under way; the state is saved.
    """
    with gentle_interrupts() as is_interrupted:
        for step in steps:
            value = take(step)
            if on_step is not None:
                on_step(step, value)
            if (step + 1) % save_every == 0 or is_interrupted() or step + 1 == steps.stop:
                save()
            if is_interrupted():
                raise KeyboardInterrupt


@contextmanager
def gentle_interrupts() -> Iterator[Callable[[], bool]]:
    """Ctrl-C waits for the step that is under way; a second one does not."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    wanted: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: object) -> None:
        wanted.append(number)
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(wanted)
    finally:
        signal.signal(signal.SIGINT, before)
