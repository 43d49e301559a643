"""``archon curve``: accuracy and pass@k against samples, tokens and seconds."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archon.cli import completers
from archon.cli.console import ResultPrinter, emit, print_line, with_interval
from archon.cli.measure import EvalOptions, Job, eval_options, measure
from archon.cli.options import command, write_file
from archon.cli.stored_command import OUTPUT_OPTIONS, resume_line, this_command
from archon.errors import GraphError, TooManyErrorsError, UsageError, require
from archon.evals.rounding import decimal, percent

if TYPE_CHECKING:
    from archon.evals.runner import Evaluation
    from archon.evals.scaling.scaled_specs import PooledVote
    from archon.graph.architecture import Architecture
    from archon.graph.loading import Loader
    from archon.spec.architecture import ArchitectureSpec

_MAX_SAMPLES = 10_000


@command
@click.argument(
    "archs",
    nargs=-1,
    required=True,
    metavar="ARCH...",
    shell_complete=completers.names("architecture"),
)
@click.option(
    "-b",
    "--benchmark",
    "bench",
    required=True,
    metavar="BENCH",
    shell_complete=completers.names("benchmark"),
    help="Benchmark to use: a catalogue name, a path, or FILE.py:FUNCTION.",
)
@click.option(
    "--samples",
    default="1,2,4,8,16",
    show_default=True,
    metavar="K,...",
    help="Numbers of samples of each generator that reads the question.",
)
@eval_options
def curve(
    archs: Sequence[str], bench: str, samples: str, options: EvalOptions, as_json: bool
) -> int:
    """Plot accuracy and pass@k against the number of samples and the cost.

    A vote over samples is run once, with the largest number; each smaller number is a mean over
    subsets of these samples. Other architectures are run with each number, on the same samples, and
    are plotted with a plain vote over each of their generators. The --output folder contains the
    runs, curve.svg, curve.json and curve.csv; with matplotlib, also curve.png.
    """
    from archon.evals.folder import RunFolder
    from archon.evals.run import read_run
    from archon.evals.run_spec import COMPARISON, headings
    from archon.evals.scaling.curves import PlannedCurve, scaling_data
    from archon.graph.loading import Loader

    ks = _numbers(samples)
    require("scipy", "evals")
    loader = Loader(changes=options.changes)
    plans = _plans(loader.architectures(archs, options.models))
    evaluations = _evaluations(plans, ks, loader, options, bench)
    folder = _folder(options, [run.folder_name for run in evaluations], plans[0].spec.name)
    stored = {COMPARISON: this_command("curve", without=OUTPUT_OPTIONS)}
    jobs = []
    for number, run in enumerate(evaluations, start=1):
        own = RunFolder.resume(folder / run.folder_name)
        title = f"{number} of {len(evaluations)}: {run.plan.spec.name}, {run.k} samples"
        jobs.append(Job(run.evaluation, own, title, stored))
    try:
        measure(jobs, loader.lms, options.policy)
    except (KeyboardInterrupt, TooManyErrorsError):
        print_line(f"to continue: {resume_line(folder)}")
        raise
    planned = []
    for plan in plans:
        paths = {run.k: folder / run.folder_name for run in evaluations if run.plan is plan}
        runs = {k: read_run(path) for k, path in paths.items()}
        planned.append(PlannedCurve(plan.spec.name, plan.vote, runs))
    known = headings(read_run(jobs[0].folder.path).description)
    shared = {name: known[name] for name in ("benchmark", "split", "seed", "limit", "epochs")}
    data = scaling_data([plan for plan in planned if plan.runs], ks, shared)
    files = _write(folder, data)
    if as_json:
        emit({**data, "folder": str(folder), "files": files})
    _print(data, files, ResultPrinter(as_json))
    return 0


def _numbers(text: str) -> list[int]:
    """Parse the value of ``--samples``: "1,2,4" → [1, 2, 4].

    Raises
    ------
    UsageError
        A part is not a number from 1 to 10,000.
    """
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or found[0] < 1 or found[-1] > _MAX_SAMPLES:
        raise UsageError(
            f"--samples must be numbers from 1 to {_MAX_SAMPLES:,}, such as 1,2,4,8, not {text!r}"
        )
    return found


@dataclass(frozen=True)
class _Plan:
    """An architecture to plot."""

    spec: ArchitectureSpec
    base_dir: Path
    vote: PooledVote | None


@dataclass(frozen=True)
class _PlannedRun:
    """A run of an architecture with ``k`` samples."""

    plan: _Plan
    k: int
    evaluation: Evaluation
    folder_name: str


def _plans(architectures: Sequence[Architecture]) -> list[_Plan]:
    """Return the architectures, and plain votes for those that are not votes themselves."""
    from archon.evals.scaling.scaled_specs import PooledVote, plain_votes, root_generators

    plans: list[_Plan] = []
    for architecture in architectures:
        spec, base_dir = architecture.spec, architecture.base_dir or Path.cwd()
        specs = [spec] if PooledVote.of(spec) else [spec, *plain_votes(spec)]
        if spec.output in root_generators(spec):
            specs = plain_votes(spec)  # its answer is the first sample, the vote over one
        plans += [_Plan(spec, base_dir, PooledVote.of(spec)) for spec in specs]
    by_name = {plan.spec.name: plan for plan in plans}
    if len(by_name) < len(plans):
        raise UsageError("two architectures have the same name; give each one once")
    # Votes are run first, with all samples, so that the other runs find them in the pool.
    return sorted(plans, key=lambda plan: plan.vote is None)


def _evaluations(
    plans: Sequence[_Plan], ks: Sequence[int], loader: Loader, options: EvalOptions, bench: str
) -> list[_PlannedRun]:
    """Return the runs of all architectures, in the order in which they are made."""
    from archon.evals.scaling.scaled_specs import scaled
    from archon.graph.loading import of_roles

    items = options.selection.benchmark(bench)
    runs: list[_PlannedRun] = []
    for plan in plans:
        for k in reversed(ks[-1:] if plan.vote is not None else ks):
            spec = scaled(plan.spec, k)
            try:
                models = of_roles(options.models, spec.models)
                architecture = loader.of_spec(spec, plan.base_dir, models)
            except GraphError as error:
                print_line(f"{plan.spec.name} cannot have {k} samples: {error}", "yellow")
                continue
            name = f"{len(runs) + 1}-{plan.spec.name}-{k}".replace("/", "-")
            runs.append(
                _PlannedRun(plan, k, options.selection.evaluation(architecture, items), name)
            )
    if not runs:
        raise UsageError("none of the architectures can have these numbers of samples")
    return runs


def _folder(options: EvalOptions, names: Sequence[str], name: str) -> Path:
    """Return the folder of the plot and its runs."""
    from archon.evals.folder import RunFolder, check_comparison_folder

    if options.output is None:
        return RunFolder.create(None, f"curve-{name}").path
    check_comparison_folder(options.output, names, resume=options.resume)
    return options.output


def _write(folder: Path, data: Mapping[str, Any]) -> list[str]:
    """Write the plot and its data; return the paths of the files."""
    from archon.evals.scaling.curves import CSV_COLUMNS, csv_rows
    from archon.evals.scaling.draw_png import can_draw_png, draw_png
    from archon.evals.scaling.draw_svg import draw_svg
    from archon.storage.atomic import write_json

    title = f"Scaling on {data['benchmark']} ({data['split']})"
    table = io.StringIO()
    writer = csv.DictWriter(table, CSV_COLUMNS, restval="")
    writer.writeheader()
    writer.writerows(csv_rows(data))
    write_json(folder / "curve.json", data)
    write_file(folder / "curve.csv", [table.getvalue()])
    write_file(folder / "curve.svg", [draw_svg(title, data)])
    names = ["curve.svg", "curve.csv", "curve.json"]
    if can_draw_png():
        draw_png(title, data, folder / "curve.png")
        names.append("curve.png")
    return [str(folder / name) for name in names]


def _print(data: Mapping[str, Any], files: Sequence[str], out: ResultPrinter) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("architecture", overflow="fold")
    for heading in ("samples", "accuracy [95%]", "pass@k [95%]", "tokens", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for curve_data in data["curves"]:
        for point in curve_data["points"]:
            table.add_row(
                curve_data["name"],
                str(point["k"]),
                with_interval(point["accuracy"], point["accuracy_interval"]),
                with_interval(point["pass"], point["pass_interval"]),
                _number(point["tokens"], 0),
                _number(point["seconds"], 2),
            )
    out.table(table)
    for curve_data in data["curves"]:
        for text in _remarks(curve_data):
            out.line(text, "dim")
        for warning in curve_data["warnings"]:
            print_line(f"{curve_data['name']}: {warning}", "yellow")
    out.line(f"plot: {', '.join(files)}")


def _remarks(curve_data: Mapping[str, Any]) -> list[str]:
    name, law = curve_data["name"], curve_data["power_law"]
    if not curve_data["is_averaged"]:
        return [f"{name}: one run for each number of samples, on its first samples"]
    if law is None:
        return [f"{name}: no power law: {curve_data['why_no_power_law']}"]
    predicted = ", ".join(
        f"@{each['k']} {with_interval(each['passed'], each['interval'])}"
        for each in law["extrapolated"]
    )
    low, high = law["b_interval"]
    return [
        f"{name}: pass@k = exp({law['a']:.3g} k^{law['b']:.3g}), exponent 95% [{low:.3g}, "
        f"{high:.3g}], largest error {percent(law['largest_error'])} points",
        f"{name}: extrapolated, if the law holds: {predicted}",
    ]


def _number(value: float | None, decimals: int) -> str:
    return "–" if value is None else decimal(value, decimals)
