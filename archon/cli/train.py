"""``archon train``: one subcommand per training method (``archon.train.registry``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archon.cli import completers
from archon.cli.console import ResultPrinter, console, emit, print_line, spinner
from archon.cli.options import command, track_option
from archon.cli.weights import local_card, pull
from archon.errors import FileError, UsageError, reference_at, require
from archon.train.registry import TRAININGS

if TYPE_CHECKING:
    import torch

    from archon.evals.run import Run
    from archon.spec.model import LocalCard
    from archon.spec.reader import Loaded
    from archon.spec.training import AnyTraining, SampledReplies
    from archon.tracking.session import TrackerChoice
    from archon.train.folder import TrainingFolder


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
    for package in ("torch", "tokenizers", "safetensors", "jinja2", "llguidance"):
        require(package, "train")
    from archon.engine.loading import choose_device
    from archon.spec.reader import load_training
    from archon.train.objectives import objective_module

    loaded = load_training(config)
    spec = loaded.spec
    if spec.training != kind:
        raise UsageError(
            f"{config} is a configuration for `archon train {spec.training}`; run that command "
            f"instead"
        )
    torch_device = choose_device(device)
    with _training_folder(spec, output, resume=resume) as folder:
        if not folder.is_finished:
            _run(loaded, folder, torch_device, track)
    record = {key: value for key, value in folder.record.items() if key != "spec"}
    if as_json:
        emit({"name": spec.name, "folder": str(folder.path), **record})
    out = ResultPrinter(as_json)
    for number, (line, style) in enumerate(objective_module(kind).report(record)):
        print_report_line = print_line if style == "yellow" else out.line
        print_report_line(line if number else f"{spec.name}: {line}", style)
    _print_result(record, folder, out)


def _run(
    loaded: Loaded[AnyTraining],
    folder: TrainingFolder,
    device: torch.device,
    track: TrackerChoice | None,
) -> None:
    from archon.train.objectives import objective_module
    from archon.train.trainer import Start, Trainer

    spec, base_dir = loaded.spec, loaded.base_dir
    start = Start(
        base_dir,
        folder,
        device,
        lambda name: _pull_model(name, base_dir),
        lambda data: _sample_replies(data, base_dir, folder.path),
    )
    try:
        with spinner("loading the model and the data"):
            objective = objective_module(spec.training).open_objective(spec, start)
    except FileError as error:
        raise error.in_file(loaded.file) from None
    with _progress_bar(spec.name) as on_progress:
        Trainer(objective, folder, spec.name, on_progress, track).run()


def _print_result(record: Mapping[str, Any], folder: TrainingFolder, out: ResultPrinter) -> None:
    """Print the output folder, and the option with which other commands use the trained model."""
    from archon.train.folder import CARD

    card = folder.path / CARD
    is_judge = "classes" in record or "penalty" in record
    use = f": try it with --model {'judge' if is_judge else 'solver'}={card}"
    out.line(f"\n{folder.path}" + (use if card.is_file() else ""))


# What objectives need

_NUM_LINES = 20
"""Number of progress lines that each task prints without a terminal."""


def _pull_model(model: str, base_dir: Path) -> tuple[LocalCard, Path]:
    """Download the weights of a model if they are missing.

    Returns
    -------
    The model card, and the folder that its relative paths are based on.
    """
    from archon import weights
    from archon.spec.reader import load_model_card

    with reference_at(None, "$.model"):
        loaded = load_model_card(model, base_dir)
    card = local_card(loaded)
    if weights.find(card, loaded.base_dir) is None:
        pull(card, loaded.base_dir)
    return card, loaded.base_dir


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


@contextmanager
def _training_folder(
    spec: AnyTraining, output: str | None, *, resume: bool
) -> Iterator[TrainingFolder]:
    """Open and lock a training folder, ``output`` or runs/NAME, while the block runs.

    If the user interrupts, print how to resume training.
    """
    from archon.train.folder import TrainingFolder

    path = Path(output) if output else Path("runs", spec.name)
    asked = spec.model_dump(mode="json", exclude_none=True)
    with TrainingFolder.exclusive(path, asked, resume=resume) as folder:
        try:
            yield folder
        except KeyboardInterrupt:
            print_line(f"finished work is kept; resume with --output {folder.path} --resume")
            raise


def _sample_replies(data: SampledReplies, base_dir: Path, path: Path) -> Run:
    """Sample a reward model's training replies by running an architecture on a benchmark.

    The items are from the ``search`` split. The run is saved in the training folder's ``sampling``
    subfolder.
    """
    from archon.api import benchmark, run_folder
    from archon.cli.measure import Job, RunPolicy, measure
    from archon.evals.run import read_run
    from archon.evals.runner import Evaluation
    from archon.graph.absolute_paths import absolute
    from archon.graph.loading import Loader

    loader = Loader()
    architecture = loader.architecture(absolute(data.architecture, base_dir))
    items = benchmark(absolute(data.benchmark, base_dir), split="search", limit=data.items)
    asked = Evaluation.of(architecture, items, seed=data.seed, epochs=data.epochs)
    folder = run_folder(path / "sampling", architecture.name, resume=True)
    measure([Job(asked, folder, architecture.name)], loader.lms, RunPolicy())
    return read_run(folder.path)
