"""What people see while ``archon search`` runs: the front, a line for each trial, what goes on.

On a terminal the front stands at the bottom and grows, with the trial under way below it; trials
that are told go by above it. Elsewhere there are the lines alone.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from archon.cli.console import console
from archon.cli.pace import duration
from archon.evals.rounding import decimal, percent

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from archon.evals.runner import EvalProgress, OnProgress
    from archon.study.search_config import SearchConfig, StudyEvent
    from archon.study.trials import TrialRecord

REFRESHES_PER_SECOND = 4
MOST_SHOWN = 10
"""Rows of the front that a display has: a terminal is not high."""


class SearchDisplay:
    """Listens to a search, and shows it while the block runs."""

    def __init__(self, config: SearchConfig) -> None:
        from rich.live import Live

        self._config, self._doing, self._started = config, "searching", time.monotonic()
        self._told: list[TrialRecord] = []
        self._rows: list[dict[str, Any]] = []
        self._live = Live(
            get_renderable=self.render,
            console=console(),
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        if console().is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to another display while the block runs."""
        shown = self._live.is_started
        self._live.stop()
        yield
        if shown:
            self._live.start()

    def event(self, event: StudyEvent) -> None:
        """Take note of a trial that begins or is told, and print a line of the latter."""
        from archon.study.search_config import TrialStarted

        if isinstance(event, TrialStarted):
            self._doing = f"trial {event.number}"
            return
        self._told.append(event.record)
        self._rows = self._front()
        if event.record.outcome != "rejected":
            self._print(event.record)

    def progress(self, progress: EvalProgress) -> None:
        """Take note of an answer."""
        share = f"{progress.num_done} of {progress.num_runs} items"
        self._doing = f"{self._doing.partition(':')[0]}: {share}"

    def run(self, title: str, num_items: int) -> OnProgress:
        """Take note of a run of the finals, and give its listener."""
        console().print(f"{title}, {num_items} items", style="dim", soft_wrap=True)
        self._doing = title.replace(":", "")
        return self.progress

    def render(self) -> RenderableType:
        """The front so far, and what goes on."""
        from rich.console import Group
        from rich.text import Text

        outcomes = Counter(record.outcome for record in self._told)
        count = sum(outcomes.values()) - outcomes["rejected"] - outcomes["repeated"]
        parts = [f"{count} trials", *(f"{outcomes[o]} {o}" for o in ("stopped", "rejected"))]
        parts.append(duration(time.monotonic() - self._started))
        doing = Text.assemble((self._doing, "bold"), "  ", (", ".join(parts), "cyan"))
        doing.no_wrap, doing.overflow = True, "ellipsis"
        if not self._rows:
            return doing
        return Group(front_table(self._rows[:MOST_SHOWN], one_line=True), doing)

    def _front(self) -> list[dict[str, Any]]:
        """Those of this sitting that nothing beats in what is sought, or the best of them."""
        from archon.study.result import row_of
        from archon.study.trials import front, ranked

        several = len(self._config.objectives) > 1
        found = (front if several else ranked)(self._told, self._config.objectives)
        return [row_of(record) for record in found]

    def _print(self, record: TrialRecord) -> None:
        line = f"trial {record.number}: {record.outcome}"
        if record.results:
            values = record.values
            line += (
                f", {percent(values['accuracy'])} % of {len(record.results)} items, "
                f"{decimal(values['tokens'])} tokens an answer"
            )
        if record.outcome != "whole" and record.reason:
            line += f" ({record.reason})"
        style = "dim" if record.outcome in ("stopped", "repeated") else None
        console().print(line, style="red" if record.outcome == "failed" else style, soft_wrap=True)


def front_table(rows: Sequence[Mapping[str, Any]], *, one_line: bool = False) -> Table:
    """Trials with what they came to, and their choices.

    Parameters
    ----------
    one_line
        Cut choices that do not fit the terminal, rather than fold them.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in ("trial", "accuracy", "tokens", "seconds"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    table.add_column("choices", overflow="ellipsis" if one_line else "fold", no_wrap=one_line)
    for row in rows:
        table.add_row(
            str(row["trial"]),
            f"{percent(row['accuracy'])} %",
            decimal(row["cost_tokens"]),
            decimal(row["seconds"], 1),
            Text(", ".join(str(value) for value in row["choices"].values())),
        )
    return table
