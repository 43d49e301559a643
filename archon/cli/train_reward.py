"""``archon train reward``: replies sampled or read, a reward head, a card that runs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archon.cli.console import emit
from archon.cli.options import command
from archon.cli.training import progress_bar, pulled, result_of, say, training_folder
from archon.errors import FileError, UsageError, require
from archon.evals.rounding import percent

if TYPE_CHECKING:
    from archon.spec.training import RewardSpec, SampledReplies
    from archon.train.folder import TrainingFolder
    from archon.train.replies import Replies


@command
@click.argument("config")
@click.option("--output", metavar="FOLDER", help="By default runs/NAME.")
@click.option("--resume", is_flag=True, help="Go on with what the folder holds, if any.")
def reward(config: str, output: str | None, resume: bool, as_json: bool) -> None:
    """Teach a model to tell good replies from bad ones, as CONFIG says: a name, or a path.

    The folder gets the head (and the adapter, if one is trained), a card that runs it, and the
    replies that were sampled.
    """
    for package in ("torch", "tokenizers", "safetensors", "jinja2", "llguidance"):
        require(package, "train")
    from archon.spec.reader import load_training
    from archon.train.reward import RewardRun

    loaded = load_training(config)
    spec = loaded.spec
    if spec.training != "reward":
        raise UsageError(f"{config} is for `archon train {spec.training}`")
    with training_folder(spec, output, resume=resume) as folder:
        if not folder.is_finished:
            try:
                card, card_dir = pulled(spec.model, loaded.base_dir)
                replies = _replies(spec, loaded.base_dir, folder)
            except FileError as error:
                raise error.in_file(loaded.file) from None
            with progress_bar(spec.name) as on_progress:
                RewardRun(spec, card, card_dir, replies, folder, on_progress).run()
    result = result_of(spec, folder)
    if as_json:
        emit(result)
    _tell(result, folder)


def _replies(spec: RewardSpec, base_dir: Path, folder: TrainingFolder) -> Replies:
    """What is learnt from: a file's, or those of a sampling, which is done or gone on with."""
    from archon.spec.training import SampledReplies
    from archon.train.replies import read_replies, replies_of_run, write_replies

    if not isinstance(spec.data, SampledReplies):
        return read_replies(base_dir / spec.data.path, spec.data.path)
    sampled = folder.path / "data.jsonl"
    if not sampled.is_file():
        folder.write_record()  # from here on there is something to resume
        write_replies(replies_of_run(_sampled(spec.data, base_dir, folder.path)), sampled)
    return read_replies(sampled, str(sampled))


def _sampled(data: SampledReplies, base_dir: Path, path: Path) -> Any:
    """The run that the replies come from: an ordinary one, in a folder of its own."""
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


def _tell(result: dict[str, Any], folder: TrainingFolder) -> None:
    say(
        f"{result['name']}: learnt from {result['replies']:,} replies to "
        f"{result['questions']:,} questions",
        "bold",
    )
    if result.get("too_long"):
        say(f"{result['too_long']:,} do not fit a row and were left out", "yellow")
    after = result["after"]
    if "right" not in after:  # a reader's preferences
        say(
            f"on {after['pairs']:,} held-out pairs: the chosen one has the higher reward in "
            f"{_percent(after['accuracy'])}"
        )
    else:
        auc = "–" if after["auc"] is None else f"{after['auc']:.3f}"
        say(
            f"on {after['replies']:,} replies to {after['questions']:,} held-out questions, of "
            f"which {_percent(after['right'])} are right: area under the ROC curve {auc}"
        )
        if "brier" in after:
            say(
                f"as probabilities: accuracy {_percent(after['accuracy'])}, Brier score "
                f"{after['brier']:.3f}, calibration error {after['calibration_error']:.3f}"
            )
        if after["within_questions"] is not None:
            share = _percent(after["within_questions"])
            say(f"of a right and a wrong reply to one question, the right one is higher in {share}")
        say(
            f"the best of each question's replies is right in {_percent(after['best_of_n'])}, one "
            f"at random in {_percent(after['chance'])}, any in {_percent(after['oracle'])}"
        )
        if "vote" in after:
            say(
                f"a vote of each question's replies is right in {_percent(after['vote'])}, "
                f"weighed by rewards in {_percent(after['vote_by_score'])}, by their odds in "
                f"{_percent(after['vote_by_odds'])}"
            )
    say(f"\n{folder.path}: use it with --model judge={folder.path / 'card.json'}")


def _percent(share: float) -> str:
    return f"{percent(share)} %"
