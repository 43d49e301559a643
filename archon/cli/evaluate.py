"""``archon eval``: how well an architecture does on a benchmark, with error bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from archon.cli.ablation import ablation_works, tell_ablations
from archon.cli.console import console, emit
from archon.cli.curves import curve_lines
from archon.cli.exits import FAILED, INTERRUPTED, REQUIREMENT_MISSED
from archon.cli.measure import (
    EvalOptions,
    Work,
    accuracy_text,
    answers_lines,
    eval_options,
    has_partial_scores,
    mean_score_text,
)
from archon.cli.options import command
from archon.errors import TooManyErrorsError, UsageError
from archon.evals.rounding import decimal, percent

if TYPE_CHECKING:
    from archon.evals.run import Run


@command
@click.argument("arch")
@click.argument("bench")
@eval_options
@click.option(
    "--require",
    metavar="accuracy=SHARE",
    help="Exit with code 100 where the accuracy is below, as accuracy=0.6.",
)
@click.option("--ablate", is_flag=True, help="Also run it without each node, on the same draws.")
def evaluate(
    arch: str, bench: str, measuring: EvalOptions, require: str | None, ablate: bool, as_json: bool
) -> int:
    """Measure the architecture ARCH on the benchmark BENCH."""
    from archon.api import run_folder
    from archon.evals.ablation import ablation_rows, ablations
    from archon.evals.run import read_run
    from archon.graph.loading import Loader

    required = None if require is None else _required_accuracy(require)
    loader = Loader()
    architecture = loader.architecture(arch, measuring.models)
    evaluation = measuring.evaluation(architecture, measuring.benchmark(bench))
    possible, refused = ablations(evaluation, architecture) if ablate else ({}, {})
    folder = run_folder(measuring.output, architecture.name, resume=measuring.resume)
    whole = Work(evaluation, folder, architecture.name)
    interrupted = False
    stopped: TooManyErrorsError | None = None
    works = [whole, *ablation_works(whole, possible)]
    try:
        measuring.measure(works, loader.lms)
    except KeyboardInterrupt:
        if not folder.holds_run:
            raise
        interrupted = True
    except TooManyErrorsError as error:
        stopped = error
    finally:
        folder.discard_unused()
    run = read_run(folder.path)
    report, rows = run.report(), ablation_rows(run) if ablate else []
    if as_json:
        told = {"ablations": rows, "not_ablated": refused} if ablate else {}
        emit(report.to_json() | ({"stopped": stopped.reason} if stopped else {}) | told)
    _tell(report.to_json(), run)
    tell_ablations(rows, refused)
    if interrupted:
        return INTERRUPTED
    if stopped is not None:
        console().print(f"stopped: {stopped.reason}", style="red", soft_wrap=True)
        return FAILED
    if report.num_errors == report.num_runs:
        return FAILED
    if required is not None and (report.accuracy or 0) < required:
        console().print(f"below the required accuracy of {required:g}", style="red")
        return REQUIREMENT_MISSED
    return 0


def _required_accuracy(text: str) -> float:
    """The share in ``accuracy=SHARE``.

    Raises
    ------
    UsageError
        It has another form, or the share is not in [0, 1].
    """
    name, _, share = text.partition("=")
    try:
        value = float(share)
    except ValueError:
        value = -1.0
    if name != "accuracy" or not 0 <= value <= 1:
        raise UsageError(f"--require takes accuracy=SHARE, a share from 0 to 1, not {text!r}")
    return value


def _tell(report: dict[str, Any], run: Run) -> None:
    """The result in a few lines."""

    def say(text: str, style: str | None = None) -> None:
        console().print(text, style=style, soft_wrap=True)

    if report["interrupted"]:
        say(f"interrupted; {report['num_runs']} finished answers are kept", "yellow")
    where = f"{report['architecture']} on {report['benchmark']} ({report['split']})"
    items = f"{report['num_items']} items"
    if report["epochs"] > 1:
        items += f" × {report['epochs']} epochs"
    result = f"accuracy {accuracy_text(report)}"
    if has_partial_scores(report):
        result += f", mean score {mean_score_text(report)}"
    say(f"{where}, {items}: {result} (95 % interval)", "bold")
    cost = "–" if report["cost_tokens"] is None else decimal(report["cost_tokens"])
    speed = f"{decimal(report['tokens_per_second'])} tokens/s"
    seconds = decimal(report["wall_seconds"], 1)
    say(f"cost {cost} tokens an answer, {seconds} s, {speed}{_found(report)}")
    for line in curve_lines(report):
        say(line)
    for warning in report["warnings"]:
        say(warning, "yellow")
    for line, style in answers_lines(report):
        say(line, style)
    say(f"run: {run.path}")


def _found(report: dict[str, Any]) -> str:
    """How much was found in the pool of draws, where anything was."""
    written, made = (report["usage"][f"{kind}_tokens"] for kind in ("completion", "generated"))
    if made == written:
        return ""
    return (
        f"; {percent(1 - made / written, 0)} % of what the models wrote was there from earlier runs"
    )
