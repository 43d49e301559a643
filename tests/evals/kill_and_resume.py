"""Run an evaluation that is killed at random moments and resumed until it is finished.

Called as ``python kill_and_resume.py FOLDER KILLS SEED``. Each session is a forked process, which
writes the number of stored answers to a pipe after each answer. Any inconsistency raises an error.
"""

from __future__ import annotations

import asyncio
import os
import random
import select
import signal
import sys
from pathlib import Path
from typing import Any

from archon import api
from archon.evals.folder import RunFolder
from archon.evals.run import read_run
from archon.evals.runner import EvalProgress, Evaluation, evaluate
from archon.lm.pool import DrawPool

ITEMS = 40
MAX_SECONDS = 0.25


def make_evaluation() -> Evaluation:
    card = {"name": "slow", "backend": "scripted", "delay_seconds": 0.002}
    architecture = api.load("best-of-n", models={"solver": card, "judge": card})
    return Evaluation.of(architecture, api.benchmark("arithmetic", limit=ITEMS), epochs=2)


def run_session(evaluation: Evaluation, folder: Path, pipe: int) -> None:
    """Run one session; write the number of stored answers to ``pipe``, one line per answer."""

    def on_progress(progress: EvalProgress) -> None:
        os.write(pipe, b"%d\n" % progress.num_done)

    with DrawPool(folder.with_suffix(".pool")) as pool:
        asyncio.run(
            evaluate(
                evaluation,
                RunFolder.resume(folder),
                pool=pool,
                max_concurrent_questions=8,
                on_progress=on_progress,
            )
        )


def start_and_kill(evaluation: Evaluation, folder: Path, seconds: float) -> tuple[bool, int]:
    """Return whether a session finished within the time, and the number of answers it printed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        run_session(evaluation, folder, writing)
        os._exit(0)
    os.close(writing)
    watch = os.pidfd_open(child)
    select.select([watch], [], [], seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as pipe:
        num_stored = max(map(int, pipe.read().split()), default=0)
    os.close(watch)
    return os.waitstatus_to_exitcode(status) == 0, num_stored


def without_times(folder: Path) -> list[dict[str, Any]]:
    """The expected records, however often the run was stopped."""
    rows = [record.to_json() for record in read_run(folder).records()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def main(root: Path, kills: int, seed: int) -> None:
    rng, evaluation = random.Random(seed), make_evaluation()
    whole = root / "whole"
    _, writing = os.pipe()
    child = os.fork()  # threads of a session must not exist when the next process is forked
    if child == 0:
        run_session(evaluation, whole, writing)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    expected = without_times(whole)
    assert len(expected) == 2 * ITEMS

    killed = runs = 0
    while killed < kills:
        folder, kept = root / f"run-{runs}", 0
        while True:
            finished, num_stored = start_and_kill(evaluation, folder, rng.uniform(0, MAX_SECONDS))
            found = len(list(read_run(folder).entries())) if (folder / "run.json").exists() else 0
            assert found >= max(kept, num_stored), "a stored answer is gone"
            kept = found
            if finished:
                break
            killed += 1
        assert without_times(folder) == expected, "the records differ from an uninterrupted run's"
        runs += 1
    print(f"{killed} kills, {runs} runs")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
