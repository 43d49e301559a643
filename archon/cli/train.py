"""``archon train``: models that learn, by committed configurations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from archon.cli.console import console, emit
from archon.cli.options import command
from archon.cli.training import progress_bar, pulled, result_of, say, training_folder
from archon.errors import FileError, UsageError, require

if TYPE_CHECKING:
    import torch

    from archon.spec.reader import AnyTraining, Loaded
    from archon.train.classify import ClassifierRun
    from archon.train.folder import TrainingFolder
    from archon.train.rl.run import RLRun
    from archon.train.run import Run


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


@command
@_options
def grpo(**given: Any) -> None:
    """Let a model learn from the rewards of its own replies, each beside others of its group.

    CONFIG is a name in the catalogue, or a path. The folder gets the adapter or the model, a card
    that runs it, and the reward as a picture.
    """
    _train("grpo", **given)


@command
@_options
def ppo(**given: Any) -> None:
    """The same with a value head that tells how good a reply will be: a name, or a path."""
    _train("ppo", **given)


@command
@_options
def classify(**given: Any) -> None:
    """Put a new head on an encoder, and teach it the classes of CONFIG's texts: a name, or a path.

    The folder gets the model, as transformers reads it; of pairs of texts in two classes, of which
    one is known to be the good one, a reward model's card as well.
    """
    _train("classify", **given)


def _train(
    kind: str, config: str, output: str | None, resume: bool, device: str | None, as_json: bool
) -> None:
    for package in ("torch", "tokenizers", "safetensors", "jinja2"):
        require(package, "train")
    from archon.engine.loading import choose_device
    from archon.spec.reader import load_training
    from archon.spec.training import RewardSpec

    loaded = load_training(config)
    spec = loaded.spec
    if spec.training != kind:
        raise UsageError(f"{config} is for `archon train {spec.training}`")
    assert not isinstance(spec, RewardSpec)  # that is ``archon.cli.train_reward``
    place = choose_device(device)
    with training_folder(spec, output, resume=resume) as folder:
        if not folder.is_finished:
            _follow(loaded, folder, place)
    result = result_of(spec, folder)
    if as_json:
        emit(result)
    _tell(result, folder)


def _follow(loaded: Loaded[AnyTraining], folder: TrainingFolder, device: torch.device) -> None:
    spec = loaded.spec
    try:
        run = _prepare(loaded, folder, device)
    except FileError as error:
        raise error.in_file(loaded.file) from None
    what = f"{spec.name}, {_what(folder)}"
    with progress_bar(spec.name) as show:
        run.on_step = lambda step, value: show(f"{what} {value:.4f}", step + 1, run.spec.steps)
        run.run()


def _what(folder: TrainingFolder) -> str:
    """What a step comes to."""
    return "reward" if folder.record["spec"]["training"] in ("grpo", "ppo") else "loss"


def _prepare(
    loaded: Loaded[AnyTraining], folder: TrainingFolder, device: torch.device
) -> Run | RLRun | ClassifierRun:
    from archon.spec.training import ClassifySpec, PretrainSpec, RewardSpec, SFTSpec
    from archon.train.prepare import prepare_fine_tuning, prepare_pretraining
    from archon.train.run import Run

    spec, base_dir = loaded.spec, loaded.base_dir
    assert not isinstance(spec, RewardSpec)
    if isinstance(spec, PretrainSpec):
        with console().status("reading the texts"):
            return Run(spec, prepare_pretraining(spec, base_dir, folder.path), folder, device)
    card, card_dir = pulled(spec.model, base_dir)
    with console().status(f"loading {card.name}, reading the texts"):
        if isinstance(spec, SFTSpec):
            prepared = prepare_fine_tuning(spec, card, base_dir, card_dir, device)
            return Run(spec, prepared, folder, device)
        if isinstance(spec, ClassifySpec):
            from archon.train.classify import ClassifierRun, prepare_classifier

            encoder = prepare_classifier(spec, card, base_dir, card_dir)
            return ClassifierRun(spec, encoder, folder, device)
        from archon.train.rl.prepare import prepare_reinforcement
        from archon.train.rl.run import RLRun

        ready = prepare_reinforcement(spec, card, base_dir, card_dir, device)
        return RLRun(spec, ready, folder, device)


def _tell(result: dict[str, Any], folder: TrainingFolder) -> None:
    learnt_from = f"{result['texts']:,} texts" if "texts" in result else "its own replies"
    say(
        f"{result['name']}: {result['trained_parameters']:,} of {result['parameters']:,} "
        f"parameters trained on {learnt_from}, {result['train_seconds']:.0f} s",
        "bold",
    )
    if result.get("too_long"):
        say(f"{result['too_long']:,} texts do not fit a row and were left out", "yellow")
    if result.get("cut"):
        say(f"{result['cut']:,} texts are longer than the context and were cut", "yellow")
    before, after = result["before"], result["after"]
    if after and _what(folder) == "reward":
        rewards = f"{before['held_out_reward']:.3f} → {after['held_out_reward']:.3f}"
        say(f"mean reward of greedy replies to {after['num_held_out']} held-out prompts: {rewards}")
    elif after:
        say(f"held-out loss {before['held_out_loss']:.3f} → {after['held_out_loss']:.3f}")
    if "held_out_accuracy" in after:
        shares = f"{before['held_out_accuracy']:.1%} → {after['held_out_accuracy']:.1%}"
        say(f"held-out texts told right: {shares} of {after['num_held_out']}")
    if after.get("num_samples"):
        counts = f"{before['num_exact']} → {after['num_exact']}"
        say(f"held-out answers that are exact: {counts} of {after['num_samples']}")
    for old, new in zip(before.get("samples", ()), after.get("samples", ()), strict=True):
        say(f"\n{new['shown']}", "dim")
        say(f"before: {old['said']}\nafter:  {new['said']}")
    if result.get("rewarded") is not None:
        say(f"reward = P({result['rewarded']})")
    card = folder.path / "card.json"
    role = "judge" if "classes" in result else "solver"
    say(f"\n{folder.path}" + (f": try it with --model {role}={card}" if card.is_file() else ""))
