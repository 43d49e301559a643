"""``archon train``: models that learn, by committed configurations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archon.cli.console import console, emit
from archon.cli.options import command
from archon.errors import UsageError, require

if TYPE_CHECKING:
    from archon.spec.reader import AnyTraining, Loaded
    from archon.spec.training import SFTSpec
    from archon.train.folder import TrainingFolder
    from archon.train.prepare import Prepared


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.argument("config"),
        click.option("--output", metavar="FOLDER", help="By default runs/NAME."),
        click.option("--resume", is_flag=True, help="Go on with what the folder holds, if any."),
        click.option("--device", help="cpu or cuda; by default CUDA where there is any."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@command
@_options
def sft(**given: Any) -> None:
    """Teach a model to answer as the completions of CONFIG do: a name in the catalogue, or a path.

    The folder gets the adapter or the model, a card that runs it, and the loss as a picture.
    """
    _train("sft", **given)


@command
@_options
def pretrain(**given: Any) -> None:
    """Train a small decoder from nothing on the texts of CONFIG: a name, or a path."""
    _train("pretrain", **given)


def _train(
    kind: str, config: str, output: str | None, resume: bool, device: str | None, as_json: bool
) -> None:
    for package in ("torch", "tokenizers", "safetensors", "jinja2"):
        require(package, "train")
    from archon.engine.loading import choose_device
    from archon.spec.reader import load_training
    from archon.spec.training import RewardSpec
    from archon.train.folder import TrainingFolder
    from archon.train.run import Run

    loaded = load_training(config)
    spec = loaded.spec
    if spec.training != kind:
        raise UsageError(f"{config} is for `archon train {spec.training}`")
    assert not isinstance(spec, RewardSpec)  # that is ``archon.cli.train_reward``
    place = choose_device(device)
    path = Path(output) if output else Path("runs", spec.name)
    folder = TrainingFolder(path, spec.model_dump(mode="json", exclude_none=True), resume=resume)
    if not folder.is_finished:
        prepared = _prepare(loaded, folder)
        try:
            with _bar(spec.name, spec.steps) as on_step:
                Run(spec, prepared, folder, place, on_step).run()
        except KeyboardInterrupt:
            told = f"what is done is kept; go on with: --output {path} --resume"
            console().print(told, soft_wrap=True)
            raise
    result = {"name": spec.name, "folder": str(path), **folder.record}
    del result["spec"]
    if as_json:
        emit(result)
    _tell(result, folder)


def _prepare(loaded: Loaded[AnyTraining], folder: TrainingFolder) -> Prepared:
    from archon.spec.training import PretrainSpec, RewardSpec
    from archon.train.prepare import prepare_pretraining

    assert not isinstance(loaded.spec, RewardSpec)
    if isinstance(loaded.spec, PretrainSpec):
        with console().status("reading the texts"):
            return prepare_pretraining(loaded.spec, loaded.base_dir, folder.path)
    return _prepare_fine_tuning(loaded.spec, loaded.base_dir)


def _prepare_fine_tuning(spec: SFTSpec, base_dir: Path) -> Prepared:
    from archon import weights
    from archon.cli.weights import pull
    from archon.spec.model import LocalCard
    from archon.spec.reader import load_model_card
    from archon.train.prepare import prepare_fine_tuning

    card = load_model_card(spec.model, base_dir)
    if not isinstance(card.spec, LocalCard):
        raise UsageError(f"{spec.model} has no weights here that could be trained")
    if weights.find(card.spec, card.base_dir) is None:
        pull(card.spec, card.base_dir)
    with console().status(f"loading {card.spec.name}, reading the texts"):
        return prepare_fine_tuning(spec, card.spec, base_dir, card.base_dir)


@contextmanager
def _bar(name: str, num_steps: int) -> Iterator[Callable[[int, float], None]]:
    """A bar on a terminal, a line every twentieth of the steps elsewhere."""
    if not console().is_terminal:
        every = max(num_steps // 20, 1)

        def say(step: int, loss: float) -> None:
            if (step + 1) % every == 0 or step == 0:
                console().print(f"step {step + 1} of {num_steps}: loss {loss:.4f}")

        yield say
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(*columns, console=console(), transient=True) as bar:
        task = bar.add_task(name, total=num_steps)

        def show(step: int, loss: float) -> None:
            bar.update(task, completed=step + 1, description=f"{name}, loss {loss:.3f}")

        yield show


def _tell(result: dict[str, Any], folder: TrainingFolder) -> None:
    def say(text: str, style: str | None = None) -> None:
        console().print(text, style=style, soft_wrap=True)

    say(
        f"{result['name']}: {result['trained_parameters']:,} of {result['parameters']:,} "
        f"parameters trained on {result['texts']:,} texts, {result['train_seconds']:.0f} s",
        "bold",
    )
    if result["too_long"]:
        say(f"{result['too_long']:,} texts do not fit a row and were left out", "yellow")
    before, after = result["before"], result["after"]
    if after:
        say(f"held-out loss {before['held_out_loss']:.3f} → {after['held_out_loss']:.3f}")
    if after.get("num_samples"):
        counts = f"{before['num_exact']} → {after['num_exact']}"
        say(f"held-out answers that are exact: {counts} of {after['num_samples']}")
        for old, new in zip(before["samples"], after["samples"], strict=True):
            say(f"\n{new['shown']}", "dim")
            say(f"before: {old['said']}\nafter:  {new['said']}")
    say(f"\n{folder.path}: try it with --model solver={folder.path / 'card.json'}")
