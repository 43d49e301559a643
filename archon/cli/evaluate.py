"""``archon eval``: how well an architecture does on a benchmark, with error bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from archon.cli.ablation import ablation_works, tell_ablations
from archon.cli.console import console, emit
from archon.cli.curves import curve_lines
from archon.cli.exits import FAILED, INTERRUPTED, REQUIREMENT_MISSED
from archon.cli.measure import Measuring, Work, accuracy_text, measure, measuring_options
from archon.cli.options import command
from archon.errors import UsageError

if TYPE_CHECKING:
    from archon.evals.run import Run


@command
@click.argument("arch")
@click.argument("bench")
@measuring_options
@click.option(
    "--require",
    metavar="accuracy=SHARE",
    help="Exit with code 100 where the accuracy is below, as accuracy=0.6.",
)
@click.option("--ablate", is_flag=True, help="Also run it without each node, on the same draws.")
def evaluate(
    arch: str, bench: str, measuring: Measuring, require: str | None, ablate: bool, as_json: bool
) -> int:
    """Measure the architecture ARCH on the benchmark BENCH."""
    from archon.api import Loader, run_folder
    from archon.evals.ablation import ablation_rows, ablations
    from archon.evals.run import read_run

    required = None if require is None else _required_accuracy(require)
    loader = Loader()
    architecture = loader.architecture(arch, measuring.models)
    evaluation = measuring.evaluation(architecture, measuring.benchmark(bench))
    possible, refused = ablations(evaluation, architecture) if ablate else ({}, {})
    folder = run_folder(measuring.output, architecture.name, resume=measuring.resume)
    whole = Work(evaluation, folder, architecture.name)
    interrupted = False
    try:
        measure([whole, *ablation_works(whole, possible)], loader.lms, cache=measuring.cache)
    except KeyboardInterrupt:
        if not folder.holds_run:
            raise
        interrupted = True
    finally:
        folder.discard_unused()
    run = read_run(folder.path)
    report, rows = run.report(), ablation_rows(run) if ablate else []
    if as_json:
        told = {"ablations": rows, "not_ablated": refused} if ablate else {}
        emit(report.to_json() | told)
    _tell(report.to_json(), run)
    tell_ablations(rows, refused)
    if interrupted:
        return INTERRUPTED
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
    UsageError : it has another form, or the share is not in [0, 1].
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
    say(f"{where}, {items}: accuracy {accuracy_text(report)} (95 % interval)", "bold")
    cost = "–" if report["cost_tokens"] is None else f"{report['cost_tokens']:.0f}"
    speed = f"{report['tokens_per_second']:.0f} tokens/s"
    say(f"cost {cost} tokens an answer, {report['wall_seconds']:.1f} s, {speed}{_found(report)}")
    for line in curve_lines(report):
        say(line)
    for warning in report["warnings"]:
        say(warning, "yellow")
    if report["num_limited"]:
        say(f"{report['num_limited']} answers were cut short by the budget", "yellow")
    if report["num_errors"]:
        say(f"{report['num_errors']} failed, the first: {_first_error(run)}", "red")
    say(f"run: {run.path}")


def _found(report: dict[str, Any]) -> str:
    """How much was found in the pool of draws, where anything was."""
    written, made = (report["usage"][f"{kind}_tokens"] for kind in ("completion", "generated"))
    if made == written:
        return ""
    return (
        f"; {100 * (1 - made / written):.0f} % of what the models wrote was there from earlier runs"
    )


def _first_error(run: Run) -> str:
    errors = (entry.record.error for entry in run.entries())
    return next((error for error in errors if error is not None), "")
