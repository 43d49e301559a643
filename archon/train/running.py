"""Run a training configuration: for ``archon.train`` and ``archon train``.

The two differ only in how they show progress and download weights (``TrainingHooks``).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archon import weights
from archon.errors import FileError, UsageError, reference_at, require
from archon.evals import runner
from archon.evals.benchmarks.opening import open_benchmark
from archon.evals.folder import run_folder
from archon.evals.progress_bar import progress_bar
from archon.evals.run import Run, read_run
from archon.graph.absolute_paths import absolute
from archon.graph.event_loop import run_sync
from archon.graph.html import block, table
from archon.graph.loading import Loader
from archon.lm.pool import DrawPool
from archon.spec.model import LocalCard
from archon.spec.reader import Reference, load_benchmark, load_model_card, load_training
from archon.spec.training import SampledReplies
from archon.tracking.session import TrackerChoice

OnTask = Callable[[str, int, int], None]
"""Function that receives (name of the task, amount done, total amount)."""
PACKAGES = ("torch", "tokenizers", "safetensors", "jinja2", "llguidance")
"""Packages that training needs, from the extra ``train``."""


@dataclass(frozen=True, repr=False)
class TrainingResult:
    """The result of a training run."""

    name: str
    """Name of the configuration."""
    folder: Path
    """The folder with the trained weights."""
    record: Mapping[str, Any]
    """The measurements, as in the output of ``archon train --json``."""
    lines: tuple[str, ...]
    """The report in words."""

    @property
    def card(self) -> Path | None:
        """The card of the trained model, which ``archon.lm`` and roles take; None without one."""
        path = self.folder / "card.json"
        return path if path.is_file() else None

    def to_json(self) -> dict[str, Any]:
        """Return the object that ``archon train --json`` prints."""
        return {"name": self.name, "folder": str(self.folder), **self.record}

    def __repr__(self) -> str:
        return f"<TrainingResult of {self.name}: {self.folder}>"

    def _repr_html_(self) -> str:
        """Return HTML for notebooks: the report in words."""
        return block(repr(self)[1:-1], [table(("report",), ((line,) for line in self.lines))])


@dataclass(frozen=True)
class TrainingHooks:
    """Functions for downloading weights, asking architectures and showing progress."""

    pull: Callable[[LocalCard, Path], object]
    """Downloads a card's missing weights; the path is the card's folder."""
    sample_replies: Callable[[SampledReplies, Path, Path], Run]
    """Runs an architecture on a benchmark; arguments are the configuration, the folder of its
    relative paths, and the training folder."""
    progress: Callable[[str], AbstractContextManager[OnTask | None]]
    """Shows the progress of the run of this name while a block runs."""
    loading: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext
    """Shows that the model and the data are loaded while a block runs."""
    on_interrupt: Callable[[Path], None] = lambda path: None
    """Called with the training folder if the user interrupts."""


def run_training(
    config: Reference,
    hooks: TrainingHooks,
    *,
    kind: str | None = None,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    device: str | None = None,
    track: TrackerChoice | None = None,
) -> tuple[TrainingResult, list[tuple[str, str | None]]]:
    """Train; return the result, and the lines of its report with their styles.

    Parameters
    ----------
    kind
        The kind of training that the configuration must have; None for any.

    Other parameters and errors are those of ``train``.
    """
    for package in PACKAGES:
        require(package, "train")
    from archon.engine.loading import choose_device
    from archon.train.folder import TrainingFolder
    from archon.train.objectives import objective_module
    from archon.train.trainer import Start, Trainer

    loaded = load_training(config)
    spec, base_dir = loaded.spec, loaded.base_dir
    if kind is not None and spec.training != kind:
        raise UsageError(
            f"{config} is a configuration for `archon train {spec.training}`; run that command "
            f"instead"
        )
    torch_device = choose_device(device)
    path = Path(output) if output else Path("runs", spec.name)
    asked = spec.model_dump(mode="json", exclude_none=True)
    with TrainingFolder.exclusive(path, asked, resume=resume) as folder:
        try:
            if not folder.is_finished:
                start = Start(
                    base_dir,
                    folder,
                    torch_device,
                    lambda name: _pulled(name, base_dir, hooks),
                    lambda data: hooks.sample_replies(data, base_dir, folder.path),
                )
                try:
                    with hooks.loading():
                        objective = objective_module(spec.training).open_objective(spec, start)
                except FileError as error:
                    raise error.in_file(loaded.file) from None
                with hooks.progress(spec.name) as on_progress:
                    listen = on_progress or (lambda task, done, total: None)
                    Trainer(objective, folder, spec.name, listen, track).run()
        except KeyboardInterrupt:
            hooks.on_interrupt(folder.path)
            raise
    record = {key: value for key, value in folder.record.items() if key != "spec"}
    lines = list(objective_module(spec.training).report(record))
    texts = tuple(line for line, _ in lines)
    return TrainingResult(spec.name, folder.path, record, texts), lines


def train(
    config: Reference,
    *,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    device: str | None = None,
    progress: bool | None = None,
    track: str | None = None,
) -> TrainingResult:
    """Train a model.

    Parameters
    ----------
    config
        A training configuration: a catalogue name, the path of a file, or its contents as a dict.
        Its key ``training`` is the kind of training.
    output
        Folder for the results; by default ``runs/NAME``, where NAME is that of the configuration.
    resume
        Whether to resume the training run in the folder, if it has saved state. A finished run is
        returned as it is.
    device
        ``cpu`` or ``cuda``; by default CUDA if it is available.
    progress
        Whether to show a progress bar. By default, it is shown on a terminal and in a notebook.
    track
        Experiment tracker that records the run; see ``evaluate``.

    Raises
    ------
    SpecError
        The configuration is missing or invalid.
    UsageError
        The folder has another run, or the data is unsuitable.
    ModelError
        Weights are unavailable.
    MissingExtraError
        The extra ``train`` is not installed.
    """

    @contextlib.contextmanager
    def shown(title: str) -> Any:
        with progress_bar(title, progress) as bar:
            yield bar

    hooks = TrainingHooks(weights.pull, _sample_replies, shown)
    choice = None if track is None else TrackerChoice.parse(track)
    result, _ = run_training(
        config, hooks, output=output, resume=resume, device=device, track=choice
    )
    return result


def planned_sampling(
    data: SampledReplies, base_dir: Path, path: Path
) -> tuple[Loader, runner.Evaluation, Path]:
    """Return the evaluation that samples a reward model's training replies, and its folder.

    The items are from the ``search`` split. The run is saved in the training folder's ``sampling``
    subfolder.
    """
    loader = Loader()
    architecture = loader.architecture(absolute(data.architecture, base_dir))
    loaded = load_benchmark(absolute(data.benchmark, base_dir))
    items = open_benchmark(loaded, split="search", limit=data.items)
    asked = runner.Evaluation.of(architecture, items, seed=data.seed, epochs=data.epochs)
    return loader, asked, path / "sampling"


def _sample_replies(data: SampledReplies, base_dir: Path, path: Path) -> Run:
    _, asked, output = planned_sampling(data, base_dir, path)
    folder = run_folder(output, asked.architecture.name, resume=True)
    with DrawPool() as pool:
        run_sync(runner.evaluate(asked, folder, pool=pool))
    return read_run(folder.path)


def _pulled(model: str, base_dir: Path, hooks: TrainingHooks) -> tuple[LocalCard, Path]:
    """Download the weights of a model if they are missing; return its card and the card's folder.

    Raises
    ------
    UsageError
        The model has another backend.
    """
    with reference_at(None, "$.model"):
        loaded = load_model_card(model, base_dir)
    card = loaded.spec
    if not isinstance(card, LocalCard):
        raise UsageError(
            f"{card.name!r} has no weights on this machine because its backend is "
            f"{card.backend!r}; choose a local model"
        )
    if weights.find(card, loaded.base_dir) is None:
        hooks.pull(card, loaded.base_dir)
    return card, loaded.base_dir
