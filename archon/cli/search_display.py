"""Progress display of ``archon search``.

A line is printed for each finished trial. On a terminal, a live display below these lines shows the
best trials so far and the running trial.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from archon.cli.console import console, counted
from archon.cli.pace import duration
from archon.evals.rounding import decimal, percent

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from archon.evals.runner import EvalProgress, OnProgress
    from archon.study.search_config import SearchConfig, StudyEvent
    from archon.study.trials import TrialRecord

REFRESHES_PER_SECOND = 4
MAX_ROWS = 10
"""Maximum number of trials in the live display."""


class SearchDisplay:
    """Displays the progress of a search while its ``with`` block runs."""

    def __init__(self, config: SearchConfig) -> None:
        from rich.live import Live

        self._config, self._doing, self._started = config, "searching", time.monotonic()
        self._records: list[TrialRecord] = []
        self._rows: list[dict[str, Any]] = []
        self._live = Live(
            get_renderable=self.render,
            console=console(),
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        if console().is_interactive:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hide the live display while the block runs, so that another one can use the terminal."""
        was_started = self._live.is_started
        self._live.stop()
        yield
        if was_started:
            self._live.start()

    def on_event(self, event: StudyEvent) -> None:
        """Record that a trial started or finished; print a line for a finished one."""
        from archon.study.search_config import TrialStarted

        if isinstance(event, TrialStarted):
            self._doing = f"trial {event.number}"
            return
        self._records.append(event.record)
        self._rows = self._front()
        if event.record.outcome != "rejected":
            self._print(event.record)

    def on_progress(self, progress: EvalProgress) -> None:
        """Record how many items of the current run are finished."""
        count = f"{progress.num_done} of {progress.num_runs} items"
        self._doing = f"{self._doing.partition(':')[0]}: {count}"

    def on_run(self, title: str, num_items: int) -> OnProgress:
        """Print the title of a run on the select or test split; return its progress listener."""
        console().print(f"{title}, {num_items} items", style="dim", soft_wrap=True)
        self._doing = title.replace(":", "")
        return self.on_progress

    def render(self) -> RenderableType:
        """Render the best trials so far, and a line about the current activity."""
        from rich.console import Group
        from rich.text import Text

        outcomes = Counter(record.outcome for record in self._records)
        count = sum(outcomes.values()) - outcomes["rejected"] - outcomes["repeated"]
        parts = [counted(count, "trial"), *(f"{outcomes[o]} {o}" for o in ("stopped", "rejected"))]
        parts.append(duration(time.monotonic() - self._started))
        doing = Text.assemble((self._doing, "bold"), "  ", (", ".join(parts), "cyan"))
        doing.no_wrap, doing.overflow = True, "ellipsis"
        if not self._rows:
            return doing
        return Group(front_table(self._rows[:MAX_ROWS], one_line=True), doing)

    def _front(self) -> list[dict[str, Any]]:
        """Return rows of this session's best trials.

        With several objectives, these are the trials on the Pareto front. Otherwise, they are all
        completed trials, best first.
        """
        from archon.study.result import row_of
        from archon.study.trials import front, ranked

        objectives = self._config.objectives
        best = (front if len(objectives) > 1 else ranked)(self._records, objectives)
        return [row_of(record) for record in best]

    def _print(self, record: TrialRecord) -> None:
        outcome = "complete" if record.outcome == "whole" else record.outcome
        line = f"trial {record.number}: {outcome}"
        if record.results:
            values = record.values
            line += (
                f", {percent(values['accuracy'])}% of {counted(len(record.results), 'item')}, "
                f"{decimal(values['tokens'])} tokens per answer"
            )
        if record.outcome != "whole" and record.reason:
            line += f" ({record.reason})"
        style = "dim" if record.outcome in ("stopped", "repeated") else None
        console().print(line, style="red" if record.outcome == "failed" else style, soft_wrap=True)


def front_table(rows: Sequence[Mapping[str, Any]], *, one_line: bool = False) -> Table:
    """Return a table of trials, with their results and parameter values.

    Parameters
    ----------
    one_line
        Truncate choices that are wider than the terminal, instead of wrapping them.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    from archon.evals.compute import compute_text

    shows_compute = any(row.get("compute") is not None for row in rows)
    compute = ["compute"] if shows_compute else []
    for name in ("trial", "accuracy", "tokens", *compute, "seconds"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    table.add_column("choices", overflow="ellipsis" if one_line else "fold", no_wrap=one_line)
    for row in rows:
        table.add_row(
            str(row["trial"]),
            f"{percent(row['accuracy'])}%",
            decimal(row["cost_tokens"]),
            *([compute_text(row.get("compute"))] if shows_compute else []),
            decimal(row["seconds"], 1),
            Text(", ".join(str(value) for value in row["choices"].values())),
        )
    return table
