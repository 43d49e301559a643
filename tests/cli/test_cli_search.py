"""The display of a running search."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from archon.cli import search_display
from archon.cli.search import search
from archon.cli.search_display import MAX_ROWS, SearchDisplay
from archon.study.objectives import ItemResult, SearchLimits, parse_objectives
from archon.study.search_config import SearchConfig, TrialFinished, TrialStarted
from archon.study.trials import TrialRecord


def display(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> tuple[SearchDisplay, Console]:
    to = Console(file=io.StringIO(), width=60, force_terminal=terminal, markup=False)
    monkeypatch.setattr(search_display, "console", lambda: to)
    plan = SearchConfig(("accuracy", "tokens"), SearchLimits(), "tpe", 0, 60)
    return SearchDisplay(plan), to


def finished(number: int, accuracy: float, tokens: float, outcome: Any = "whole") -> TrialFinished:
    results = [] if outcome == "rejected" else [ItemResult(accuracy, tokens, 1.0)]
    point = {"form": "program", "template": "a template with a long name", "judge": "none"}
    return TrialFinished(TrialRecord(number, outcome, point, str(number), results=results))


def shown(one: SearchDisplay, to: Console) -> list[str]:
    with to.capture() as capture:
        to.print(one.render())
    return [line.rstrip() for line in capture.get().splitlines()]


def test_the_front_grows_with_the_trials_and_each_row_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, to = display(monkeypatch, terminal=False)
    assert shown(one, to)[0].startswith("searching")
    one.on_event(finished(0, 0.5, 100))
    one.on_event(finished(1, 0.4, 200))
    one.on_event(finished(2, 0.6, 300))
    one.on_event(finished(3, 0.9, 50, "stopped"))
    one.on_event(finished(4, 0, 0, "rejected"))
    one.on_event(TrialStarted(5, {}))
    lines = shown(one, to)
    assert [line.split()[0] for line in lines] == ["trial", "2", "0", "trial"]
    assert all(len(line) <= 60 for line in lines)
    assert "4 trials, 1 stopped, 1 rejected" in lines[-1]


def test_the_display_shows_the_first_rows_of_a_long_front(monkeypatch: pytest.MonkeyPatch) -> None:
    one, to = display(monkeypatch, terminal=False)
    for number in range(20):
        one.on_event(finished(number, number / 20, 100 * number + 1))
    assert len(shown(one, to)) == MAX_ROWS + 2


def test_without_a_terminal_only_lines_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    one, to = display(monkeypatch, terminal=False)
    with one:
        one.on_event(finished(0, 0.5, 100))
    assert isinstance(to.file, io.StringIO)
    lines = to.file.getvalue().splitlines()
    assert lines == ["trial 0: complete, 50.0% of 1 item, 100 tokens per answer"]


def test_a_paused_display_leaves_the_terminal_to_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, to = display(monkeypatch, terminal=True)
    with one, one.paused(), to.status("loading"):  # rich refuses a second display
        pass


def test_the_options_have_the_defaults_of_the_configuration() -> None:
    config = SearchConfig()
    defaults = {parameter.name: parameter.default for parameter in search.params}
    for name in ("sampler", "seed", "trials", "limit", "final_limit", "finalists"):
        assert defaults[name] == getattr(config, name)
    assert parse_objectives(defaults["objective"]) == config.objectives
