"""``archon train``: one subcommand per training method (``archon.train.registry``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archon.cli import completers
from archon.cli.console import ResultPrinter, console, emit, print_line, spinner
from archon.cli.options import command, track_option
from archon.cli.weights import pull
from archon.train.registry import TRAININGS

if TYPE_CHECKING:
    from archon.evals.run import Run
    from archon.spec.training import SampledReplies
    from archon.tracking.session import TrackerChoice
    from archon.train.running import TrainingResult


def train_command(kind: str) -> click.Command:
    """Build the subcommand for a training method such as ``sft``."""

    @command
    @click.argument("config", shell_complete=completers.names("training"))
    @click.option(
        "--output",
        metavar="FOLDER",
        shell_complete=completers.folders,
        help="Folder for the results; by default runs/NAME, where NAME is the name in CONFIG.",
    )
    @click.option(
        "--resume",
        is_flag=True,
        help="Resume training in the output folder, if it has saved state.",
    )
    @track_option
    def train(
        config: str,
        output: str | None,
        resume: bool,
        track: TrackerChoice | None,
        as_json: bool,
        device: str | None = None,
    ) -> None:
        _train(kind, config, output, resume, track, device=device, as_json=as_json)

    row = TRAININGS[kind]
    train.name = kind
    train.help = (
        f"{row.summary}\n\nCONFIG is a catalogue name or a path. The output folder will contain "
        f"{row.results}."
    )
    if row.has_device:
        train = click.option(
            "--device",
            metavar="cpu|cuda",
            help="Device to train on; by default CUDA if available, else the CPU.",
        )(train)
    return train


def _train(
    kind: str,
    config: str,
    output: str | None,
    resume: bool,
    track: TrackerChoice | None,
    *,
    device: str | None,
    as_json: bool,
) -> None:
    from archon.train.running import TrainingHooks, run_training

    hooks = TrainingHooks(
        pull,
        _sample_replies,
        _progress_bar,
        lambda: spinner("loading the model and the data"),
        lambda path: print_line(f"finished work is kept; resume with --output {path} --resume"),
    )
    result, lines = run_training(
        config, hooks, kind=kind, output=output, resume=resume, device=device, track=track
    )
    if as_json:
        emit(result.to_json())
    out = ResultPrinter(as_json)
    for number, (line, style) in enumerate(lines):
        print_report_line = print_line if style == "yellow" else out.line
        print_report_line(line if number else f"{result.name}: {line}", style)
    _print_result(result, out)


def _print_result(result: TrainingResult, out: ResultPrinter) -> None:
    """Print the output folder, and the option with which other commands use the trained model."""
    is_judge = "classes" in result.record or "penalty" in result.record
    role = "judge" if is_judge else "solver"
    use = "" if result.card is None else f": try it with --model {role}={result.card}"
    out.line(f"\n{result.folder}{use}")


# What objectives need

_NUM_LINES = 20
"""Number of progress lines that each task prints without a terminal."""


@contextmanager
def _progress_bar(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function ``(task, num_done, num_total)`` that displays progress.

    On a terminal, it updates a progress bar. Otherwise, it prints a line for each twentieth of a
    task. The text before the first comma identifies the task.
    """
    if not console().is_interactive:
        printed: dict[str, int] = {}

        def line(task: str, done: int, total: int) -> None:
            name, part = task.split(",")[0], _NUM_LINES * done // max(total, 1)
            if printed.get(name) != part:
                printed[name] = part
                console().print(f"{task}: {done:,} of {total:,}")

        yield line
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(*columns, console=console(), transient=True) as bar:
        bar_id = bar.add_task(title, total=None)

        def show(task: str, done: int, total: int) -> None:
            bar.update(bar_id, description=task, completed=done, total=total)

        yield show


def _sample_replies(data: SampledReplies, base_dir: Path, path: Path) -> Run:
    """Sample a reward model's training replies, and display the progress."""
    from archon.cli.measure import Job, RunPolicy, measure
    from archon.evals.folder import run_folder
    from archon.evals.run import read_run
    from archon.train.running import planned_sampling

    loader, asked, output = planned_sampling(data, base_dir, path)
    name = asked.architecture.name
    folder = run_folder(output, name, resume=True)
    measure([Job(asked, folder, name)], loader.lms, RunPolicy())
    return read_run(folder.path)
