"""``archon train reward``: replies sampled or read, a reward head, a card that runs it."""

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
    from archon import weights
    from archon.cli.weights import pull
    from archon.spec.model import LocalCard
    from archon.spec.reader import load_model_card, load_training
    from archon.train.folder import TrainingFolder
    from archon.train.reward import RewardRun

    loaded = load_training(config)
    spec = loaded.spec
    if spec.training != "reward":
        raise UsageError(f"{config} is for `archon train {spec.training}`")
    card = load_model_card(spec.model, loaded.base_dir)
    if not isinstance(card.spec, LocalCard):
        raise UsageError(f"{spec.model} has no weights here that could be trained")
    path = Path(output) if output else Path("runs", spec.name)
    folder = TrainingFolder(path, spec.model_dump(mode="json", exclude_none=True), resume=resume)
    if not folder.is_finished:
        try:
            replies = _replies(spec, loaded.base_dir, folder)
            if weights.find(card.spec, card.base_dir) is None:
                pull(card.spec, card.base_dir)
            with _bar() as on_progress:
                RewardRun(spec, card.spec, card.base_dir, replies, folder, on_progress).run()
        except KeyboardInterrupt:
            told = f"what is done is kept; go on with: --output {path} --resume"
            console().print(told, soft_wrap=True)
            raise
    result = {"name": spec.name, "folder": str(path), **folder.record}
    del result["spec"]
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


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal, a line now and then elsewhere."""
    if not console().is_terminal:
        said: dict[str, int] = {}

        def say(what: str, done: int, of: int) -> None:
            kind, tenth = what.split(",")[0], 10 * done // max(of, 1)
            if said.get(kind) != tenth:
                said[kind] = tenth
                console().print(f"{what}: {done:,} of {of:,}")

        yield say
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(*columns, console=console(), transient=True) as bar:
        task = bar.add_task("")

        def show(what: str, done: int, of: int) -> None:
            bar.update(task, description=what, completed=done, total=of)

        yield show


def _tell(result: dict[str, Any], folder: TrainingFolder) -> None:
    def say(text: str, style: str | None = None) -> None:
        console().print(text, style=style, soft_wrap=True)

    say(
        f"{result['name']}: learnt from {result['replies']:,} replies to "
        f"{result['questions']:,} questions",
        "bold",
    )
    if result.get("too_long"):
        say(f"{result['too_long']:,} do not fit a row and were left out", "yellow")
    after = result["after"]
    if "pairs" in after:
        say(
            f"on {after['pairs']:,} held-out pairs: the chosen one has the higher reward in "
            f"{_percent(after['accuracy'])}"
        )
    else:
        auc = "–" if after["auc"] is None else f"{after['auc']:.3f}"
        say(
            f"on {after['replies']:,} replies to {after['questions']:,} held-out questions: "
            f"accuracy {_percent(after['accuracy'])} ({_percent(after['right'])} are right), area "
            f"under the ROC curve {auc}, Brier score {after['brier']:.3f}, calibration error "
            f"{after['calibration_error']:.3f}"
        )
        if after["within_questions"] is not None:
            share = _percent(after["within_questions"])
            say(f"of a right and a wrong reply to one question, the right one is higher in {share}")
        say(
            f"the best of each question's replies is right in {_percent(after['best_of_n'])}, one "
            f"at random in {_percent(after['chance'])}, any in {_percent(after['oracle'])}"
        )
    say(f"\n{folder.path}: use it with --model judge={folder.path / 'card.json'}")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
