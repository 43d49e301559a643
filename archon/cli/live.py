"""Show the progress of a running evaluation: live on a terminal, otherwise in plain lines.

The evaluation's event loop updates the display at fixed intervals. Each update polls the models'
status (``archon.lm.base.status_of``), which does not block a model.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from archon.cli.console import console, counted, with_interval
from archon.cli.pace import Pace, duration, seconds_left
from archon.lm.base import status_of
from archon.types import ModelStatus

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.text import Text

    from archon.evals.runner import EvalProgress, OnProgress
    from archon.lm.lazy import LazyLM

REFRESH_SECONDS = 0.25
MAX_LINE_SECONDS = 60.0
"""Without a terminal, print a line if none was printed for this many seconds."""
MIN_LINE_SECONDS = 1.0
"""Minimum seconds between two progress lines. The first and the last line are always printed.
"""

StyledText = tuple[str, str]
"""A text and its Rich style, such as ``("3 failed", "red")``."""


@asynccontextmanager
async def live_progress(
    title: str, num_runs: int, lms: Sequence[LazyLM], max_concurrent_questions: int
) -> AsyncIterator[OnProgress]:
    """Display the progress of an evaluation while the block runs; yield the progress listener.

    Parameters
    ----------
    num_runs
        Number of answers, including answers from earlier sessions.
    lms
        The models whose status is displayed.
    max_concurrent_questions
        Maximum number of concurrent questions, used to estimate how many are running.
    """
    state = EvalState(title, num_runs, lms, max_concurrent_questions)
    # Lines of a verbose log would garble the display.
    is_quiet = not logging.getLogger().isEnabledFor(logging.INFO)
    show = _display if console().is_interactive and is_quiet else _lines

    async def refresh_repeatedly(refresh: Callable[[], None]) -> None:
        while True:
            refresh()
            await asyncio.sleep(REFRESH_SECONDS)

    with show(state) as (on_progress, refresh):
        refreshing = asyncio.create_task(refresh_repeatedly(refresh))
        try:
            yield on_progress
        finally:
            refreshing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await refreshing


@contextmanager
def _display(state: EvalState) -> Iterator[tuple[OnProgress, Callable[[], None]]]:
    from rich.live import Live

    def render() -> RenderableType:
        state.poll_models()
        return Display(state)

    live = Live(
        get_renderable=render,
        console=console(),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
    )
    with live:
        yield state.on_progress, live.refresh


@contextmanager
def _lines(state: EvalState) -> Iterator[tuple[OnProgress, Callable[[], None]]]:
    lines = Lines(state, lambda line: console().print(line, soft_wrap=True))
    yield lines.on_progress, lines.refresh


class EvalState:
    """Progress of an evaluation, the status of its models, and texts that describe them."""

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
        self._model_tokens: int | None = None
        """Number of generated tokens, including unfinished answers; None if no model reports it."""
        self.poll_models()

    def on_progress(self, progress: EvalProgress) -> None:
        """Record the progress after a finished answer."""
        if self.progress is None and progress.num_kept:
            self._pace = Pace()  # the first count includes tokens of earlier sessions
        self.progress = progress

    def poll_models(self) -> None:
        """Read the models' status, and update the token rate."""
        statuses = ((lm.card.name, status_of(lm)) for lm in self._lms)
        self.statuses = [(name, status) for name, status in statuses if status is not None]
        opened = [status for _, status in self.statuses if status.doing != "loading"]
        if opened:
            model_tokens = sum(status.generated_tokens for status in opened)
            self._model_tokens = max(model_tokens, self._model_tokens or 0)
        answer_tokens = self.progress.generated_tokens if self.progress else 0
        self._pace.add(
            self._clock(), answer_tokens if self._model_tokens is None else self._model_tokens
        )

    @property
    def seconds(self) -> float:
        """Seconds since this session of the evaluation started."""
        return self._clock() - self._started

    @property
    def num_done(self) -> int:
        return self.progress.num_done if self.progress else 0

    @property
    def num_running(self) -> int:
        """Estimated number of questions that are being answered."""
        return min(self._max_concurrent_questions, self.num_runs - self.num_done)

    @property
    def seconds_left(self) -> float | None:
        """Estimated remaining seconds; None before the first answer and after the last."""
        num_left = self.num_runs - self.num_done
        if self.progress is None or not num_left:
            return None
        num_done = self.num_done - self.progress.num_kept
        return seconds_left(self.seconds, num_done, num_left, self.num_running)

    def results(self) -> list[StyledText]:
        """Describe the accuracy so far, the number of failures, and the speed."""
        parts: list[StyledText] = []
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


def activities(status: ModelStatus) -> list[str]:
    """Describe a model's status, most important part first.

    For example, ``["2 texts decoding", "1 prompt waiting", "cache 40% full"]``.
    """
    if status.doing == "loading":
        return ["loading"]
    if status.doing == "calling":
        texts = [f"{counted(status.num_running, 'call')} running"]
        return [*texts, f"{status.num_waiting} waiting"] if status.num_waiting else texts
    texts = []
    if status.num_running:
        texts.append(f"{counted(status.num_running, 'text')} decoding")
    if status.num_waiting:
        texts.append(f"{counted(status.num_waiting, 'prompt')} waiting")
    texts = texts or ["idle"]
    if status.cache_used is not None:
        texts.append(f"cache {100 * status.cache_used:.0f}% full")
    if status.cached_prompt_share is not None:
        texts.append(f"{100 * status.cached_prompt_share:.0f}% of prompt tokens cached")
    return texts


class Display:
    """Live display: a progress bar, the results so far, and a line per model.

    Lines are truncated to the console width.
    """

    def __init__(self, state: EvalState) -> None:
        self._state = state

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        state, width = self._state, options.max_width
        times = [duration(state.seconds)]
        if (left := state.seconds_left) is not None:
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
        running = f"{counted(state.num_running, 'question')} running"
        yield fit_line("", [*state.results(), (running, "")], width)
        for name, status in state.statuses:
            parts = ((text, "") for text in activities(status))
            yield fit_line(f"{name}: ", parts, width, style="dim")


def fit_line(start: str, parts: Iterable[StyledText], width: int, style: str = "") -> Text:
    """Join the leading parts that fit on a line of this width.

    If even the first part does not fit, it is truncated and ends in an ellipsis.
    """
    from rich.text import Text

    line = Text(start, style=style, no_wrap=True, overflow="ellipsis")
    separator = ""
    for text, part_style in parts:
        if separator and line.cell_len + len(separator) + len(text) > width:
            break
        line.append(separator).append(text, style=part_style)
        separator = ", "
    return line


class Lines:
    """Prints a line at the start, after every tenth of the answers, and at least once a minute."""

    def __init__(self, state: EvalState, print_line: Callable[[str], None]) -> None:
        self._state, self._print_line = state, print_line
        self._tenth, self._printed_at = 0, state.seconds
        print_line(f"{state.title}: {counted(state.num_runs, 'question')}")

    def on_progress(self, progress: EvalProgress) -> None:
        """Record the progress, and print a line after every tenth of the answers."""
        self._state.on_progress(progress)
        tenth = 10 * progress.num_done // progress.num_runs
        is_time = self._state.seconds - self._printed_at >= MIN_LINE_SECONDS
        if tenth > self._tenth and (is_time or tenth == 10 or not self._tenth):
            self._tenth = tenth
            self._state.poll_models()
            self._print([])

    def refresh(self) -> None:
        """Poll the models; print their activities if nothing was printed for a minute."""
        self._state.poll_models()
        if self._state.seconds - self._printed_at >= MAX_LINE_SECONDS:
            statuses = self._state.statuses
            self._print([f"{name}: {', '.join(activities(status))}" for name, status in statuses])

    def _print(self, models: Sequence[str]) -> None:
        state = self._state
        self._printed_at = state.seconds
        parts = [f"{state.num_done} of {state.num_runs}", *(text for text, _ in state.results())]
        if (left := state.seconds_left) is not None:
            parts.append(f"{duration(left)} left")
        self._print_line("; ".join([f"{state.title}: {', '.join(parts)}", *models]))
