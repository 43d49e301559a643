"""``archon eval``: measure the accuracy of an architecture, with a confidence interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from archon.cli import completers
from archon.cli.console import (
    ResultPrinter,
    counted,
    emit,
    p_text,
    points,
    print_line,
    with_interval,
)
from archon.cli.exits import FAILED, INTERRUPTED, REQUIREMENT_MISSED
from archon.cli.measure import (
    EvalOptions,
    Job,
    accuracy_text,
    eval_options,
    has_partial_scores,
    mean_score_text,
    measure,
    problem_lines,
)
from archon.cli.options import command
from archon.cli.stored_command import OUTPUT_OPTIONS, resume_line, this_command
from archon.errors import TooManyErrorsError, UsageError
from archon.evals.rounding import decimal, percent, signed

if TYPE_CHECKING:
    from rich.table import Table

    from archon.evals.run import Run


@command
@click.argument("arch", shell_complete=completers.names("architecture"))
@click.argument("bench", shell_complete=completers.names("benchmark"))
@eval_options
@click.option(
    "--require",
    metavar="accuracy=SHARE",
    help="Exit with code 100 if the accuracy is below SHARE, such as accuracy=0.6.",
)
@click.option(
    "--ablate",
    is_flag=True,
    help="Also run ARCH with each node removed in turn, on the same samples.",
)
def evaluate(
    arch: str, bench: str, options: EvalOptions, require: str | None, ablate: bool, as_json: bool
) -> int:
    """Evaluate an architecture on a benchmark.

    ARCH and BENCH are catalogue names or paths. BENCH can also be a Python function,
    FILE.py:FUNCTION, or your own data: a CSV, TSV, JSON, JSON Lines or Parquet file, or a data set
    of the hub, hf:OWNER/NAME[/CONFIG][@REVISION][:SPLIT].
    """
    from archon.api import run_folder
    from archon.evals.ablation import ablation_rows, ablations
    from archon.evals.run import read_run
    from archon.evals.run_spec import COMMAND
    from archon.graph.loading import Loader

    required = None if require is None else _required_accuracy(require)
    loader = Loader(changes=options.changes)
    architecture = loader.architecture(arch, options.models)
    selection = options.selection
    evaluation = selection.evaluation(architecture, selection.benchmark(bench))
    possible, refused = ablations(evaluation, architecture) if ablate else ({}, {})
    name = architecture.name
    folder = run_folder(options.output, name, resume=options.resume)
    jobs = [Job(evaluation, folder, name, {COMMAND: this_command("eval", without=OUTPUT_OPTIONS)})]
    jobs += [
        Job(e, folder.ablation(node), f"{name} without {node}") for node, e in possible.items()
    ]
    interrupted = False
    stopped: TooManyErrorsError | None = None
    try:
        measure(jobs, loader.lms, options.policy)
    except KeyboardInterrupt:
        if not folder.holds_run:
            raise
        interrupted = True
    except TooManyErrorsError as error:
        stopped = error
    finally:
        folder.discard_unused()
    run = read_run(folder.path)
    report, rows = run.report(evaluation.by), ablation_rows(run) if ablate else []
    if as_json:
        ablated = {"ablations": rows, "not_ablated": refused} if ablate else {}
        emit(report.to_json() | ({"stopped": stopped.reason} if stopped else {}) | ablated)
    out = ResultPrinter(as_json)
    _print_report(report.to_json(), run, out)
    _print_ablations(rows, refused, out)
    if interrupted:
        print_line(f"to continue: {resume_line(folder.path)}")
        return INTERRUPTED
    if stopped is not None:
        print_line(f"stopped: {stopped.reason}", "red")
        return FAILED
    if report.num_errors == report.num_runs:
        return FAILED
    accuracy = report.accuracy or 0
    if required is not None and accuracy < required:
        print_line(f"the accuracy {accuracy:g} is below the required {required:g}", "red")
        return REQUIREMENT_MISSED
    return 0


def _required_accuracy(text: str) -> float:
    """Parse the value of ``--require``: "accuracy=0.6" → 0.6.

    Raises
    ------
    UsageError
        The value does not have this format, or the share is not in [0, 1].
    """
    name, _, share = text.partition("=")
    try:
        value = float(share)
    except ValueError:
        value = -1.0
    if name != "accuracy" or not 0 <= value <= 1:
        raise UsageError(f"--require must be accuracy=SHARE with a share from 0 to 1, not {text!r}")
    return value


def _print_report(report: dict[str, Any], run: Run, out: ResultPrinter) -> None:
    from archon.evals.compute import compute_lines

    if report["interrupted"]:
        print_line(f"interrupted; {report['num_runs']} finished answers are kept", "yellow")
    where = f"{report['architecture']} on {report['benchmark']} ({report['split']})"
    items = counted(report["num_items"], "item")
    if report["epochs"] > 1:
        items += f" × {report['epochs']} epochs"
    result = f"accuracy {accuracy_text(report)}"
    if has_partial_scores(report):
        result += f", mean score {mean_score_text(report)}"
    out.line(f"{where}, {items}: {result} (95% interval)", "bold")
    cost = "–" if report["cost_tokens"] is None else decimal(report["cost_tokens"])
    speed = f"{decimal(report['tokens_per_second'])} tokens/s"
    seconds = decimal(report["wall_seconds"], 1)
    out.line(f"cost {cost} tokens per answer, {seconds} s, {speed}{_pool_share(report)}")
    for line in compute_lines(report):
        out.line(line)
    if "energy_joules" in report:
        out.line(f"energy {decimal(report['energy_joules'], 1)} J per answer (whole machine)")
    if usage := report.get("scoring_usage"):
        tokens = decimal(usage["prompt_tokens"] + usage["completion_tokens"])
        calls = counted(usage["calls"], "call")
        out.line(f"scoring took {tokens} tokens in {calls}, which the cost leaves out")
    for line in _metric_lines(report.get("metrics", {})):
        out.line(line)
    for column, groups in report.get("groups", {}).items():
        out.table(group_table(column, groups))
    for line in _curve_lines(report["curves"]):
        out.line(line)
    for warning in report["warnings"]:
        print_line(warning, "yellow")
    for line, style in problem_lines(report):
        print_line(line, style)
    out.line(f"run: {run.path}")


def _metric_lines(metrics: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line with the mean and the interval of each further scorer and metric.

    >>> metrics = {"f1": {"mean": 0.5, "interval": (0.25, 0.75), "num_items": 8}}
    >>> next(_metric_lines(metrics))
    'f1: 0.500 [0.250, 0.750]'
    """
    for name, metric in metrics.items():
        text = decimal(metric["mean"], 3)
        if metric["interval"] is not None:
            low, high = metric["interval"]
            text += f" [{decimal(low, 3)}, {decimal(high, 3)}]"
        yield f"{name}: {text}"


def group_table(column: str, groups: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table of the results by group.

    ``p`` is the p-value of the difference from all other groups, after Holm's correction.
    """
    from rich.table import Table

    heads = (column, "items", "accuracy [95%]", "difference from the rest", "p (Holm)")
    table = Table(*heads, box=None)
    for group in groups:
        difference, p_value = group["difference"], group["p_value_adjusted"]
        table.add_row(
            group["name"],
            str(group["num_items"]),
            with_interval(group["accuracy"], group["accuracy_interval"]),
            "–" if difference is None else f"{signed(difference, 1, shift=2)} points",
            "–" if p_value is None else p_text(p_value),
        )
    return table


def _pool_share(report: dict[str, Any]) -> str:
    """Return "; 40% of the completion tokens came from the sample pool", or "" if none did."""
    total, generated = (report["usage"][f"{kind}_tokens"] for kind in ("completion", "generated"))
    if generated == total:
        return ""
    share = percent(1 - generated / total, 0)
    return f"; {share}% of the completion tokens came from the sample pool"


def _curve_lines(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """Yield a line with pass@k and vote@k for each node with several samples.

    k is 1, 4, 16, 64, 256 and the number of samples.

    >>> curve = [{"k": 1, "pass": 0.29, "vote": 0.29}, {"k": 8, "pass": 0.62, "vote": 0.4}]
    >>> next(_curve_lines({"solve": curve}))
    'solve: pass@1 29%, @8 62%; vote@8 40%'
    """

    def figures(name: str, curve: Sequence[Mapping[str, Any]]) -> str:
        return name + ", ".join(f"@{point['k']} {percent(point[name], 0)}%" for point in curve)

    for node, curve in curves.items():
        shown = [point for point in curve if point["k"] in (1, 4, 16, 64, 256, curve[-1]["k"])]
        yield f"{node}: {figures('pass', shown)}; {figures('vote', shown[1:])}"


def _print_ablations(
    rows: Sequence[Mapping[str, Any]], refused: Mapping[str, str], out: ResultPrinter
) -> None:
    """Print what each node adds to the accuracy and to the cost.

    Parameters
    ----------
    rows
        Results of ``ablation_rows``: one for each removed node.
    refused
        Node → the reason why it cannot be removed.
    """
    from rich.table import Table

    heads = ("node", "accuracy without it [95%]", "gain [95%]", "p", "extra cost")
    table = Table(*heads, box=None)
    for row in rows:
        gain = points(row["difference"], row["interval"])
        extra = row["extra_cost_tokens"]
        cost = "–" if extra is None else f"{signed(extra)} tokens"
        accuracy = with_interval(row["accuracy"], row["accuracy_interval"])
        table.add_row(row["node"], accuracy, gain, p_text(row["p_value"]), cost)
    if rows:
        out.table(table)
    for node, reason in refused.items():
        out.line(f"{node} cannot be removed: {reason}", "dim")
