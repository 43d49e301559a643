"""What the commands that train share: weights to begin with, progress, lines of the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from archon.cli.console import console
from archon.errors import UsageError, reference_at

if TYPE_CHECKING:
    from archon.evals.run import Run
    from archon.spec.model import LocalCard
    from archon.spec.training import AnyTraining, SampledReplies
    from archon.train.folder import TrainingFolder

_LINES = 20


def pulled(model: str, base_dir: Path) -> tuple[LocalCard, Path]:
    """A card whose weights are here, and its folder."""
    from archon import weights
    from archon.cli.weights import pull
    from archon.spec.model import LocalCard
    from archon.spec.reader import load_model_card

    with reference_at(None, "$.model"):
        card = load_model_card(model, base_dir)
    if not isinstance(card.spec, LocalCard):
        raise UsageError(f"{model} has no weights here that could be trained")
    if weights.find(card.spec, card.base_dir) is None:
        pull(card.spec, card.base_dir)
    return card.spec, card.base_dir


@contextmanager
def progress_bar(title: str = "") -> Iterator[Callable[[str, int, int], None]]:
    """Shows (what is done, how much of it, how much there is): a bar on a terminal, a line every
    twentieth elsewhere. What is done is named up to its first comma."""
    if not console().is_terminal:
        said: dict[str, int] = {}

        def line(what: str, done: int, of: int) -> None:
            kind, part = what.split(",")[0], _LINES * done // max(of, 1)
            if said.get(kind) != part:
                said[kind] = part
                console().print(f"{what}: {done:,} of {of:,}")

        yield line
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(*columns, console=console(), transient=True) as bar:
        task = bar.add_task(title, total=None)

        def show(what: str, done: int, of: int) -> None:
            bar.update(task, description=what, completed=done, total=of)

        yield show


@contextmanager
def training_folder(
    spec: AnyTraining, output: str | None, *, resume: bool
) -> Iterator[TrainingFolder]:
    """The folder of a training, the one that is named or runs/NAME, kept from other processes.

    When the work within is interrupted, the command that resumes it is printed.
    """
    from archon.train.folder import TrainingFolder

    path = Path(output) if output else Path("runs", spec.name)
    asked = spec.model_dump(mode="json", exclude_none=True)
    with TrainingFolder.held(path, asked, resume=resume) as folder:
        try:
            yield folder
        except KeyboardInterrupt:
            say(f"what is done is kept; resume with: --output {folder.path} --resume")
            raise


def sample_replies(data: SampledReplies, base_dir: Path, path: Path) -> Run:
    """Run an architecture on a benchmark's search split, in a folder inside the training's own."""
    from archon.api import Loader, benchmark, evaluation, run_folder
    from archon.catalog import is_path
    from archon.cli.measure import Work, measure
    from archon.evals.run import read_run

    def found(ref: str) -> str:
        return str(base_dir / ref) if is_path(ref) else ref

    loader = Loader()
    architecture = loader.architecture(found(data.architecture))
    items = benchmark(found(data.benchmark), split="search", limit=data.items)
    asked = evaluation(architecture, items, seed=data.seed, epochs=data.epochs)
    folder = run_folder(path / "sampling", architecture.name, resume=True)
    measure([Work(asked, folder, architecture.name)], loader.lms)
    return read_run(folder.path)


def say(text: str, style: str | None = None) -> None:
    """A line of the report."""
    console().print(text, style=style, soft_wrap=True)
