"""The display of a running evaluation, on a terminal and in a log."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from archon.cli import live
from archon.cli.live import Display, EvalState, Lines, live_progress
from archon.evals.report import Tally
from archon.evals.runner import EvalProgress
from archon.types import ModelStatus, Usage

DECODING = ModelStatus(
    "decoding",
    num_running=412,
    num_waiting=6,
    generated_tokens=0,
    cache_used=0.43,
    cached_prompt_share=0.61,
)


class Clock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Model:
    """A model whose status the test sets."""

    def __init__(self, status: ModelStatus | None, name: str = "qwen2.5-coder-0.5b") -> None:
        self.card = SimpleNamespace(name=name)
        self.now = status

    def status(self) -> ModelStatus | None:
        return self.now


def progress_of(
    num_right: int, num_done: int, *, num_runs: int = 200, num_errors: int = 0, num_kept: int = 0
) -> EvalProgress:
    items = [f"item-{n}" for n in range(num_done)]
    tally = Tally(
        right=Counter(items[:num_right]),
        runs=Counter(items),
        errors=Counter({"LMError: gone": num_errors}),
    )
    tally.totals["usage"] = Usage(generated_tokens=100 * num_done)
    return EvalProgress(
        num_done=num_done,
        num_runs=num_runs,
        num_right=num_right,
        num_errors=num_errors,
        generated_tokens=100 * num_done,
        seconds=1,
        tally=tally,
        num_kept=num_kept,
    )


def state_of(
    clock: Clock, *models: Model, title: str = "rank-fuse", num_runs: int = 200
) -> EvalState:
    lms: Any = models
    return EvalState(title, num_runs, lms, 64, clock)


def shown(state: EvalState, width: int) -> list[str]:
    """The lines of the display, as a terminal shows them."""
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=True, color_system=None).print(Display(state))
    lines = file.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    return [line.rstrip() for line in lines]


def half_way(clock: Clock) -> EvalState:
    """A state: 40 of 200 done after 60 s, 17 of them right and 2 failed; 800 tokens per second."""
    model = Model(DECODING)
    state = state_of(clock, model)
    for _ in range(60):
        clock.now += 1
        assert model.now is not None
        model.now = replace(model.now, generated_tokens=model.now.generated_tokens + 800)
        state.poll_models()
    state.on_progress(progress_of(17, 40, num_errors=2))
    return state


# ------------------------------------------------------------------------------- on a terminal


def test_a_wide_terminal_shows_everything() -> None:
    bar, results, model = shown(half_way(Clock()), 120)
    assert bar.startswith("rank-fuse ━")
    assert bar.endswith("40/200 1:00, 1:47 left")
    assert results == ("accuracy 42.5% [28.5, 57.8], 2 failed, 800 tokens/s, 64 questions running")
    assert model == (
        "qwen2.5-coder-0.5b: 412 texts decoding, 6 prompts waiting, cache 43% full, "
        "61% of prompt tokens cached"
    )


def test_a_narrow_terminal_shows_the_leading_parts_of_each_line() -> None:
    assert shown(half_way(Clock()), 60)[1:] == [
        "accuracy 42.5% [28.5, 57.8], 2 failed, 800 tokens/s",
        "qwen2.5-coder-0.5b: 412 texts decoding, 6 prompts waiting",
    ]
    assert shown(half_way(Clock()), 40)[0].endswith("40/200 1:47 left")


@pytest.mark.parametrize("width", range(10, 100, 5))
def test_no_line_wraps_on_a_narrow_terminal(width: int) -> None:
    assert len(shown(half_way(Clock()), width)) == 3


def test_a_long_name_leaves_room_for_the_bar() -> None:
    state = state_of(Clock(), title="2 of 3: " + "mixture-of-agents-" * 5)
    state.on_progress(progress_of(0, 200))
    bar, *_ = shown(state, 60)
    assert bar.startswith("2 of 3: mixture-of")
    assert "━━━━━━━━━━" in bar


def test_there_is_no_estimate_before_the_first_answer() -> None:
    clock = Clock()
    state = state_of(clock, Model(ModelStatus("loading")), Model(None, "scripted"), num_runs=5)
    clock.now += 7
    bar, results, model = shown(state, 80)
    assert bar.endswith("0/5 0:07")
    assert results == "5 questions running"
    assert model == "qwen2.5-coder-0.5b: loading"


def test_failures_are_red() -> None:
    assert ("2 failed", "red") in half_way(Clock()).results()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (ModelStatus("calling", num_running=12, num_waiting=3), "12 calls running, 3 waiting"),
        (ModelStatus("calling", num_running=1), "1 call running"),
        (ModelStatus("decoding", cache_used=0.004), "idle, cache 0% full"),
        (
            ModelStatus("decoding", num_running=1, num_waiting=1),
            "1 text decoding, 1 prompt waiting",
        ),
    ],
)
def test_the_status_of_a_model_has_a_text(status: ModelStatus, expected: str) -> None:
    assert shown(state_of(Clock(), Model(status, "far")), 100)[-1] == f"far: {expected}"


def test_without_token_counts_of_the_model_those_of_the_answers_give_the_speed() -> None:
    clock = Clock()
    state = state_of(clock, Model(None))
    for num_done in range(1, 31):
        clock.now += 2
        state.on_progress(progress_of(0, num_done))
        state.poll_models()
    assert ("50 tokens/s", "") in state.results()


def test_the_count_continues_when_a_model_is_opened_again() -> None:
    clock, model = Clock(), Model(replace(DECODING, generated_tokens=500))
    state = state_of(clock, model)
    clock.now += 5
    model.now = replace(DECODING, generated_tokens=1000)
    state.poll_models()
    for status in (None, ModelStatus("loading"), DECODING):
        model.now = status
        state.poll_models()
        assert ("100 tokens/s", "") in state.results()


def test_the_speed_of_a_resumed_run_ignores_earlier_sessions() -> None:
    clock = Clock()
    state = state_of(clock)
    clock.now += 10
    state.on_progress(progress_of(50, 110, num_kept=100))
    state.poll_models()
    assert all("tokens" not in words for words, _ in state.results())
    # 10 of 90 done in 10 s, 64 of the rest half done.
    assert state.seconds_left == pytest.approx(10 * (90 - 32) / (10 + 32))
    clock.now += 10
    state.on_progress(progress_of(50, 120, num_kept=100))
    state.poll_models()
    assert ("100 tokens/s", "") in state.results()


# -------------------------------------------------------------------------------- plain lines


def test_each_tenth_has_a_line() -> None:
    said: list[str] = []
    clock = Clock()
    lines = Lines(state_of(clock, num_runs=40), said.append)
    for num_done in range(1, 41):
        clock.now += 1
        lines.on_progress(progress_of(0, num_done, num_runs=40))
        lines.refresh()
    assert said[0] == "rank-fuse: 40 questions"
    assert [line.partition(",")[0] for line in said[1:]] == [
        f"rank-fuse: {done} of 40" for done in range(4, 41, 4)
    ]
    # 20 s for 20 of 40, all of the rest under way.
    assert said[5] == "rank-fuse: 20 of 40, accuracy 0.0% [0.0, 16.1], 100 tokens/s, 0:07 left"
    assert "left" not in said[-1]


def test_a_slow_run_prints_a_line_per_minute_with_the_models_status() -> None:
    said: list[str] = []
    clock = Clock()
    lines = Lines(state_of(clock, Model(DECODING, "qwen")), said.append)
    for _ in range(4 * 150):
        clock.now += 0.25
        lines.refresh()
    doing = "412 texts decoding, 6 prompts waiting, cache 43% full, 61% of prompt tokens cached"
    assert said == ["rank-fuse: 200 questions", *[f"rank-fuse: 0 of 200; qwen: {doing}"] * 2]


def test_a_resumed_run_prints_its_progress_first() -> None:
    said: list[str] = []
    lines = Lines(state_of(Clock()), said.append)
    lines.on_progress(progress_of(50, 100, num_kept=100))
    assert said[1:] == ["rank-fuse: 100 of 200, accuracy 50.0% [40.4, 59.6]"]


# ---------------------------------------------------------------------------- while it runs


def console_of(monkeypatch: pytest.MonkeyPatch, **options: Any) -> io.StringIO:
    """Make a console of this width the console of the display."""
    file = io.StringIO()
    monkeypatch.setattr(live, "console", lambda: Console(file=file, width=80, **options))
    monkeypatch.setattr(live, "REFRESH_SECONDS", 0.001)
    return file


async def follow(error: BaseException | None = None) -> None:
    async with live_progress("rank-fuse", 200, [], 64) as on_progress:
        for num_done in range(1, 21):
            on_progress(progress_of(0, num_done))
            await asyncio.sleep(0.002)
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [None, OSError("disk full"), asyncio.CancelledError()])
async def test_the_display_updates_and_leaves_the_terminal_clean(
    error: BaseException | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = console_of(monkeypatch, force_terminal=True)
    expected = contextlib.nullcontext() if error is None else pytest.raises(type(error))
    with expected:
        await follow(error)
    written = file.getvalue()
    assert "0/200" in written
    assert "20/200" in written
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")  # the cursor is back
    *_, last = written.split("\x1b[?25h")
    assert last.count("\x1b[2K") == 2  # both lines are erased
    assert capsys.readouterr().out == ""
    assert len(asyncio.all_tasks()) == 1


async def test_without_a_terminal_there_are_only_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    file = console_of(monkeypatch, force_terminal=False)
    await follow()
    assert "\x1b" not in file.getvalue()
    assert file.getvalue().splitlines()[0] == "rank-fuse: 200 questions"
    assert len(file.getvalue().splitlines()) == 2
