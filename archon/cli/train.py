"""``archon train VERB CONFIG``: one command per kind of training, all carried out alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from archon.cli.console import console, emit
from archon.cli.options import command
from archon.cli.training import progress_bar, pulled, sample_replies, say, training_folder
from archon.errors import FileError, UsageError, require

if TYPE_CHECKING:
    import torch

    from archon.spec.reader import Loaded
    from archon.spec.training import AnyTraining
    from archon.train.folder import TrainingFolder

_CONFIG = "CONFIG is a name in the catalogue, or a path. The folder gets"
HELP = {
    "sft": f"""Teach a model to answer as the completions of CONFIG do.

    {_CONFIG} the adapter or the model, a card that runs it, and the loss as a picture.
    """,
    "pretrain": f"""Train a small decoder from nothing on the texts of CONFIG.

    {_CONFIG} the model, a card that runs it, and the loss as a picture.
    """,
    "dpo": f"""Make chosen replies likelier than rejected ones.

    {_CONFIG} the adapter or the model, a card that runs it, and the loss as a picture.
    """,
    "grpo": f"""Learn from rewards for the model's own replies, each compared with its group.

    {_CONFIG} the adapter or the model, a card that runs it, and the reward as a picture.
    """,
    "ppo": f"""Learn from rewards for the model's own replies, with a value head.

    {_CONFIG} the adapter or the model, a card that runs it, and the reward as a picture.
    """,
    "classify": f"""Put a new head on an encoder, and teach it the classes of CONFIG's texts.

    {_CONFIG} the model, in the form that transformers reads. Where the texts are pairs of two
    classes, of which one is known to be the good one, it also gets the card of a reward model.
    """,
    "reward": f"""Teach a model to tell good replies from bad ones.

    {_CONFIG} the head (and the adapter, if one is trained), a card that runs it, and the replies
    that were sampled.
    """,
}


def train_command(kind: str) -> click.Command:
    """The command of one kind of training."""

    @command
    @click.argument("config")
    @click.option("--output", metavar="FOLDER", help="By default runs/NAME.")
    @click.option("--resume", is_flag=True, help="Continue the training in the folder, if any.")
    def train(
        config: str, output: str | None, resume: bool, as_json: bool, device: str | None = None
    ) -> None:
        _train(kind, config, output, resume=resume, device=device, as_json=as_json)

    train.name, train.help = kind, HELP[kind]
    if kind != "reward":  # whose engine reads replies where the card's model runs
        train = click.option("--device", help="cpu or cuda; by default CUDA if available.")(train)
    return train


def _train(
    kind: str, config: str, output: str | None, *, resume: bool, device: str | None, as_json: bool
) -> None:
    for package in ("torch", "tokenizers", "safetensors", "jinja2", "llguidance"):
        require(package, "train")
    from archon.engine.loading import choose_device
    from archon.spec.reader import load_training
    from archon.train.objectives import objective_module

    loaded = load_training(config)
    spec = loaded.spec
    if spec.training != kind:
        raise UsageError(f"{config} is for `archon train {spec.training}`")
    place = choose_device(device)
    with training_folder(spec, output, resume=resume) as folder:
        if not folder.is_finished:
            _run(loaded, folder, place)
    record = {key: value for key, value in folder.record.items() if key != "spec"}
    if as_json:
        emit({"name": spec.name, "folder": str(folder.path), **record})
    for number, (line, style) in enumerate(objective_module(kind).report(record)):
        say(line if number else f"{spec.name}: {line}", style)
    _say_how_to_use(record, folder)


def _run(loaded: Loaded[AnyTraining], folder: TrainingFolder, device: torch.device) -> None:
    from archon.train.objectives import Start, objective_module
    from archon.train.trainer import Trainer

    spec, base_dir = loaded.spec, loaded.base_dir
    start = Start(
        base_dir,
        folder,
        device,
        lambda name: pulled(name, base_dir),
        lambda data: sample_replies(data, base_dir, folder.path),
    )
    try:
        with console().status("loading the model and the data"):
            objective = objective_module(spec.training).open_objective(spec, start)
    except FileError as error:
        raise error.in_file(loaded.file) from None
    with progress_bar(spec.name) as on_progress:
        Trainer(objective, folder, spec.name, on_progress).run()


def _say_how_to_use(record: Mapping[str, Any], folder: TrainingFolder) -> None:
    from archon.train.folder import CARD

    card = folder.path / CARD
    is_judge = "classes" in record or "penalty" in record
    use = f": try it with --model {'judge' if is_judge else 'solver'}={card}"
    say(f"\n{folder.path}" + (use if card.is_file() else ""))


sft, pretrain, dpo, grpo, ppo, classify, reward = map(train_command, HELP)
