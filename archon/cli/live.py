"""What people see while an evaluation runs: a display on a terminal, plain lines elsewhere.

Both are drawn in the event loop of the evaluation, a few times a second and not for every answer;
the models are asked what they are doing (``archon.lm.base.status_of``), and no step of theirs waits
for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from archon.cli.console import console, with_interval
from archon.cli.pace import Pace, duration, seconds_left
from archon.lm.base import status_of
from archon.types import ModelStatus

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.text import Text

    from archon.evals.runner import EvalProgress, OnProgress
    from archon.lm.lazy import LazyLM

REFRESH_SECONDS = 0.25
LINE_SECONDS = 60.0
"""Without a terminal nobody waits longer for a line."""
MIN_LINE_SECONDS = 1.0
"""Nor do lines follow each other faster, but for the first and the last."""

Part = tuple[str, str]
"""Words, and the style in which a terminal shows them."""


@asynccontextmanager
async def followed(
    title: str, num_runs: int, lms: Sequence[LazyLM], max_concurrent_questions: int
) -> AsyncIterator[OnProgress]:
    """Show an evaluation while the block runs, and give its listener.

    Parameters
    ----------
    title
        What is evaluated.
    num_runs
        Runs of items, those included that are finished already.
    lms
        The models whose doings are told.
    max_concurrent_questions
        As many questions are asked at once.
    """
    state = State(title, num_runs, lms, max_concurrent_questions)
    # A log that tells much writes lines of its own, which would tear a display.
    is_quiet = not logging.getLogger().isEnabledFor(logging.INFO)
    show = _display if console().is_interactive and is_quiet else _lines

    async def refresh_often(refresh: Callable[[], None]) -> None:
        while True:
            refresh()
            await asyncio.sleep(REFRESH_SECONDS)

    with show(state, console()) as (on_progress, refresh):
        refreshing = asyncio.create_task(refresh_often(refresh))
        try:
            yield on_progress
        finally:
            refreshing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await refreshing


@contextmanager
def _display(state: State, to: Console) -> Iterator[tuple[OnProgress, Callable[[], None]]]:
    from rich.live import Live

    def render() -> RenderableType:
        state.look()
        return Display(state)

    live = Live(
        get_renderable=render,
        console=to,
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
    )
    with live:
        yield state.take, live.refresh


@contextmanager
def _lines(state: State, to: Console) -> Iterator[tuple[OnProgress, Callable[[], None]]]:
    lines = Lines(state, lambda line: to.print(line, soft_wrap=True))
    yield lines.on_progress, lines.refresh


class State:
    """What is known of a running evaluation, and how it is put into words."""

    def __init__(
        self,
        title: str,
        num_runs: int,
        lms: Sequence[LazyLM],
        max_concurrent_questions: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title, self.num_runs = title, num_runs
        self.progress: EvalProgress | None = None
        self.statuses: list[tuple[str, ModelStatus]] = []
        self._lms, self._max_concurrent_questions = lms, max_concurrent_questions
        self._clock, self._started = clock, clock()
        self._pace = Pace()
        self._generated_tokens: int | None = None
        """As the models count them; they do before an answer is finished, if they count."""
        self.look()

    def take(self, progress: EvalProgress) -> None:
        """Take note of an answer."""
        if self.progress is None and progress.num_kept:
            self._pace = Pace()  # tokens of earlier sittings are no sign of today's speed
        self.progress = progress

    def look(self) -> None:
        """Look at what the models are doing now."""
        found = ((lm.card.name, status_of(lm)) for lm in self._lms)
        self.statuses = [(name, status) for name, status in found if status is not None]
        opened = [status for _, status in self.statuses if status.doing != "loading"]
        if opened:
            so_far = sum(status.generated_tokens for status in opened)
            self._generated_tokens = max(so_far, self._generated_tokens or 0)
        told = self.progress.generated_tokens if self.progress else 0
        self._pace.note(
            self._clock(), told if self._generated_tokens is None else self._generated_tokens
        )

    @property
    def seconds(self) -> float:
        """Since the evaluation began, in this sitting."""
        return self._clock() - self._started

    @property
    def num_done(self) -> int:
        return self.progress.num_done if self.progress else 0

    @property
    def num_under_way(self) -> int:
        """Questions that are being answered."""
        return min(self._max_concurrent_questions, self.num_runs - self.num_done)

    @property
    def seconds_left(self) -> float | None:
        """At the pace of this sitting."""
        if self.progress is None:
            return None
        num_done = self.num_done - self.progress.num_kept
        return seconds_left(
            self.seconds, num_done, self.num_runs - self.num_done, self.num_under_way
        )

    def results(self) -> list[Part]:
        """How the answers are so far, and how fast the models."""
        parts: list[Part] = []
        if self.progress is not None and self.progress.num_done:
            tally = self.progress.tally
            accuracy = with_interval(tally.accuracy, tally.accuracy_interval)
            parts.append((f"accuracy {accuracy}", "bold"))
            if tally.num_errors:
                parts.append((f"{tally.num_errors} failed", "red"))
        speed = self._pace.per_second(self._clock())
        if speed is not None:
            parts.append((f"{speed:.0f} tokens/s", ""))
        return parts


def doings(status: ModelStatus) -> list[str]:
    """What a model is doing, the most telling first."""
    if status.doing == "loading":
        return ["loading"]
    if status.doing == "calling":
        told = [f"{counted(status.num_running, 'call')} under way"]
        return [*told, f"{status.num_waiting} waiting"] if status.num_waiting else told
    told = []
    if status.num_running:
        told.append(f"{counted(status.num_running, 'text')} decoding")
    if status.num_waiting:
        told.append(f"{counted(status.num_waiting, 'prompt')} waiting")
    told = told or ["idle"]
    if status.cache_used is not None:
        told.append(f"cache {100 * status.cache_used:.0f} % full")
    if status.cached_prompt_share is not None:
        told.append(f"{100 * status.cached_prompt_share:.0f} % of prompt tokens cached")
    return told


def counted(count: int, noun: str) -> str:
    """A count with its noun.

    >>> counted(1, "call"), counted(12, "call")
    ('1 call', '12 calls')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


class Display:
    """A bar, the results so far, and a line for each model: as much of each as fits its line."""

    def __init__(self, state: State) -> None:
        self._state = state

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lines that are never wider than the console."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        state, width = self._state, options.max_width
        times = [duration(state.seconds)]
        left = state.seconds_left
        if left is not None and state.num_done < state.num_runs:
            times.append(f"{duration(left)} left")
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(no_wrap=True, overflow="ellipsis", max_width=max(8, 2 * width // 5))
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True)
        bar.add_column(no_wrap=True)
        bar.add_row(
            Text(state.title, style="bold"),
            ProgressBar(
                total=state.num_runs,
                completed=state.num_done,
                complete_style="green",
                finished_style="green",
            ),
            f"{state.num_done}/{state.num_runs}",
            Text(", ".join(times if width >= 60 else times[-1:]), style="cyan"),
        )
        yield bar
        under_way = f"{counted(state.num_under_way, 'question')} under way"
        yield fitted("", [*state.results(), (under_way, "")], width)
        for name, status in state.statuses:
            parts = ((words, "") for words in doings(status))
            yield fitted(f"{name}: ", parts, width, style="dim")


def fitted(start: str, parts: Iterable[Part], width: int, style: str = "") -> Text:
    """One line of the first parts, as many as fit; the first is cut where even it does not."""
    from rich.text import Text

    line = Text(start, style=style, no_wrap=True, overflow="ellipsis")
    separator = ""
    for words, part_style in parts:
        if separator and line.cell_len + len(separator) + len(words) > width:
            break
        line.append(separator).append(words, style=part_style)
        separator = ", "
    return line


class Lines:
    """A line at the beginning, at each tenth, and after a minute without one."""

    def __init__(self, state: State, say: Callable[[str], None]) -> None:
        self._state, self._say = state, say
        self._tenth, self._said_at = 0, state.seconds
        say(f"{state.title}: {counted(state.num_runs, 'question')}")

    def on_progress(self, progress: EvalProgress) -> None:
        """Take note of an answer, and tell of a tenth."""
        self._state.take(progress)
        tenth = 10 * progress.num_done // progress.num_runs
        is_time = self._state.seconds - self._said_at >= MIN_LINE_SECONDS
        if tenth > self._tenth and (is_time or tenth == 10 or not self._tenth):
            self._tenth = tenth
            self._state.look()
            self._tell([])

    def refresh(self) -> None:
        """Look at the models; tell after a minute without a line what they are doing, too."""
        self._state.look()
        if self._state.seconds - self._said_at >= LINE_SECONDS:
            models = [
                f"{name}: {', '.join(doings(status))}" for name, status in self._state.statuses
            ]
            self._tell(models)

    def _tell(self, models: Sequence[str]) -> None:
        state = self._state
        self._said_at = state.seconds
        parts = [f"{state.num_done} of {state.num_runs}", *(words for words, _ in state.results())]
        left = state.seconds_left
        if left is not None and state.num_done < state.num_runs:
            parts.append(f"{duration(left)} left")
        self._say("; ".join([f"{state.title}: {', '.join(parts)}", *models]))
