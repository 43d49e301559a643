"""``archon bench``: benchmarks of the engine, graphs, the server and other engines."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from archon.cli import completers
from archon.cli.console import ResultPrinter, emit, megabytes, print_line
from archon.cli.exits import FAILED, INTERRUPTED
from archon.cli.options import command
from archon.cli.weights import local_card, pull
from archon.errors import UsageError, require
from archon.spec.model import LocalCard, Precision
from archon.spec.reader import load_model_card
from archon.types import SAMPLER_PARAMETERS

if TYPE_CHECKING:
    from archon.bench.peers.contender import PeerTask
    from archon.bench.serve.overhead import LoadPlan
    from archon.lm.local.lm import LocalLM

_SINGLE_PROMPT_TOKENS = 16
_RESULT_KEYS = {"model", "machine", "pairs", "workloads", "interrupted"}
_WORKLOAD_KEYS = {"workload", "contenders", "ratios", "rooflines"}
_DEFAULT_PEERS = "archon,llama.cpp,llama.cpp-q4_0,transformers"
_SERVE_SAMPLING = {n: p.to_json(p.default) for n, p in SAMPLER_PARAMETERS.items()}
_SERVE_SAMPLING |= {"temperature": 0.8, "top_k": 40}
"""Sampling parameters for the measured server. All are set, so that no model card changes them."""

Decorator = Callable[[Any], Any]


def _count(name: str, default: int, text: str, *, minimum: int = 1) -> Decorator:
    kind = click.IntRange(minimum)
    return click.option(name, type=kind, default=default, show_default=True, metavar="N", help=text)


_model_option = click.option(
    "-m",
    "--model",
    default="qwen2.5-coder-0.5b",
    shell_complete=completers.names("model"),
    show_default=True,
    metavar="NAME",
    help="Local model to use.",
)
_prompts_option = partial(_count, "--num-prompts", text="Number of prompts.")
_prompt_tokens_option = partial(
    _count, "--prompt-tokens", text="Length of each prompt in tokens, including the shared prefix."
)
_prefix_option = partial(
    _count,
    "--shared-prefix-tokens",
    text="Length in tokens of the prefix that all prompts share.",
    minimum=0,
)


def _precision(text: str) -> Decorator:
    return click.option("--precision", type=click.Choice(get_args(Precision)), help=text)


def _check_folder(context: click.Context, parameter: click.Parameter, path: Path | None) -> Any:
    """Reject an output file in a missing folder before the measurement starts."""
    if path is not None and not path.absolute().parent.is_dir():
        raise click.BadParameter(
            f"the folder {path.absolute().parent} does not exist; create it first"
        )
    return path


def _file(name: str, text: str) -> Decorator:
    kind = click.Path(dir_okay=False, writable=True, path_type=Path)
    return click.option(name, type=kind, callback=_check_folder, help=text)


def _check_prefix(options: Mapping[str, Any]) -> None:
    """Reject a shared prefix that is longer than the prompt."""
    if options["shared_prefix_tokens"] > options["prompt_tokens"]:
        raise UsageError("--shared-prefix-tokens must be at most --prompt-tokens")


# Engine, quality and graph


@command
@_model_option
@_precision("Precision to compute in; by default that of the model card.")
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    help="Device to run on; by default CUDA if available, else the CPU.",
)
@_prompts_option(default=4)
@_count("--samples-per-prompt", 16, "Number of samples per prompt.")
@_prompt_tokens_option(default=576)
@_prefix_option(default=512)
@_count("--new-tokens", 128, "Number of tokens to generate per sample.")
@click.option(
    "--roofline/--no-roofline",
    default=True,
    show_default=True,
    help="On a CPU, also measure the hardware's upper bound on speed, and print what share of it "
    "the engine reaches.",
)
def engine(
    model: str, precision: Precision | None, as_json: bool, roofline: bool, **workload: Any
) -> None:
    """Benchmark the local inference engine.

    Generate many samples of prompts that share a prefix, and print the tokens per second.
    """
    _check_prefix(workload)
    require("torch", "engine")
    from archon.bench.engine import engine_shares, run_engine_bench
    from archon.weights import cache_dir, identity

    card, path = _local_model(model)
    figures = run_engine_bench(
        path,
        precision=precision or card.precision,
        model_id=identity(card, path),
        keep_in=cache_dir(),
        **workload,
    )
    if roofline and figures["device"] == "cpu":
        figures |= engine_shares(path, figures)
    _print({"model": card.name, **figures}, as_json)


@command
@click.argument("text", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_model_option
@_count("--num-tokens", 20_480, "Use only the first N tokens of the text.", minimum=2)
@click.option(
    "--window",
    type=click.IntRange(2, 4096),
    default=512,
    show_default=True,
    metavar="N",
    help="Number of tokens per forward pass.",
)
def quality(text: Path, model: str, num_tokens: int, window: int, as_json: bool) -> None:
    """Measure the perplexity of a text at every precision.

    TEXT is a text file or a JSONL file. Every precision is compared with float32.
    """
    require("torch", "engine")
    from archon.bench.quality import perplexities
    from archon.engine.model.precision import PRECISIONS

    card, path = _local_model(model)
    out = ResultPrinter(as_json)
    rows: list[dict[str, Any]] = []
    for row in perplexities(path, list(PRECISIONS), text, num_tokens=num_tokens, window=window):
        reference = rows[0]["perplexity"] if rows else row["perplexity"]
        rows.append({**row, "relative_change": row["perplexity"] / reference - 1})
        change = f"{100 * rows[-1]['relative_change']:+.2f}%"
        out.line(f"{row['precision']}: perplexity {row['perplexity']:.4f} ({change})")
    if as_json:
        emit({"model": card.name, "window": window, "rows": rows})


@command
@click.argument("arch", default="archon-figure", shell_complete=completers.names("architecture"))
@_count("--num-questions", 1000, "Number of questions to ask.")
@_count("--num-concurrent", 32, "Number of questions to process concurrently.")
def graph(arch: str, num_questions: int, num_concurrent: int, as_json: bool) -> None:
    """Benchmark the overhead of running a graph.

    Send questions to the architecture ARCH, with scripted models in every role, and print the
    milliseconds per question and the memory use.
    """
    from archon.bench.graph import run_graph_bench
    from archon.graph.loading import Loader
    from archon.spec.reader import load_architecture

    roles = load_architecture(arch).spec.models
    architecture = Loader().architecture(arch, dict.fromkeys(roles, "scripted"))
    _print(run_graph_bench(architecture, num_questions, num_concurrent), as_json)


# Peers


@command
@_model_option
@click.option(
    "--workload",
    "workloads",
    type=click.Choice(["graph", "single"]),
    multiple=True,
    default=["graph"],
    show_default=True,
    help="Workload to measure: graph (many samples of prompts that share a prefix, including "
    "prefill) or single (one sequence, decoding only). Can be repeated.",
)
@_prompts_option(default=32)
@_count("--samples-per-prompt", 16, "Number of samples per prompt.")
@_prompt_tokens_option(default=960)
@_prefix_option(default=900)
@_count("--new-tokens", 128, "Number of tokens to generate per sample.", minimum=2)
@_precision("Precision for Archon; by default that of the model card.")
@click.option(
    "--peers",
    "names",
    default=_DEFAULT_PEERS,
    show_default=True,
    metavar="NAME,...",
    help="Contenders to compare; llama.cpp-q8_0 and archon-PRECISION are also available.",
)
@_count("--pairs", 3, "Run N rounds per contender.")
@click.option(
    "--peer-fraction",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="SHARE",
    help="Share of the prompts to run in a peer's round; by default, enough to fill "
    "--peer-seconds.",
)
@click.option(
    "--peer-seconds",
    type=click.FloatRange(0, min_open=True),
    default=75.0,
    show_default=True,
    metavar="N",
    help="Target duration of a peer's round in seconds.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    metavar="N",
    help="Number of threads; by default one per core.",
)
@_file("--output", "Also write the result as JSON to this file.")
@_file("--picture", "Also draw the result as an SVG file.")
@click.option(
    "--from",
    "result_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Draw a result saved by --output, without measuring.",
)
def peers(
    workloads: Sequence[str], names: str, result_file: Path | None, as_json: bool, **options: Any
) -> int | None:
    """Compare the local engine with llama.cpp and transformers.

    Run the contenders in interleaved rounds, and print their tokens per second and the ratios.
    """
    output, picture = options.pop("output"), options.pop("picture")
    if result_file is not None and picture is None:
        raise UsageError("--from needs --picture, which names the SVG file")
    result = (
        _read_result(result_file)
        if result_file is not None
        else _measure_peers(dict.fromkeys(workloads), names, options, ResultPrinter(as_json))
    )
    if output is not None:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if picture is not None:
        from archon.bench.peers.picture import draw

        picture.write_text(draw(result), encoding="utf-8")
    if as_json:
        emit(result)
    if result["interrupted"] and result_file is None:
        return INTERRUPTED
    rates = [
        c["completion_tokens_per_second"] for w in result["workloads"] for c in w["contenders"]
    ]
    return None if any(rates) else FAILED


def _measure_peers(
    workloads: Mapping[str, None], names: str, options: dict[str, Any], out: ResultPrinter
) -> dict[str, Any]:
    _check_prefix(options)
    require("torch", "engine")
    from archon.bench.peers.contender import check_names
    from archon.bench.peers.peer_comparison import run_peers_bench
    from archon.engine.loading import open_model
    from archon.engine.model.config import config_of

    contenders = [name.strip() for name in names.split(",")]
    check_names(contenders)
    card, path = _local_model(options["model"])
    config = config_of(open_model(path))
    tasks = {
        name: _peer_task(name == "single", card, path, config.vocab_size, options)
        for name in workloads
    }
    return run_peers_bench(
        card.name, tasks, contenders, config, options["pairs"], print_line, out.line
    )


def _peer_task(
    is_single: bool, card: LocalCard, path: Path, vocab_size: int, options: Mapping[str, Any]
) -> PeerTask:
    from archon.bench.machine import num_cores
    from archon.bench.peers.contender import PeerTask
    from archon.bench.workload import Workload
    from archon.weights import identity

    if is_single:
        workload = Workload(1, 1, _SINGLE_PROMPT_TOKENS, 0, options["new_tokens"])
    else:
        workload = Workload.from_values(options)
    return PeerTask(
        path=str(path.absolute()),
        digest=identity(card, path),
        vocab_size=vocab_size,
        workload=workload,
        decode_only=is_single,
        precision=options["precision"] or card.precision,
        threads=options["threads"] or num_cores(),
        fraction=options["peer_fraction"],
        round_seconds=options["peer_seconds"],
    )


def _read_result(path: Path) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8-sig"))
        if result.keys() >= _RESULT_KEYS and all(
            workload.keys() >= _WORKLOAD_KEYS for workload in result["workloads"]
        ):
            return result
    except (OSError, ValueError, AttributeError, TypeError):
        pass
    raise UsageError(f"{path} is not a file written by archon bench peers --output")


# Serve


@command
@_model_option
@_prompts_option(default=4)
@_count(
    "--samples-per-prompt",
    16,
    "Number of clients per prompt. Each client sends requests one after another.",
)
@_prompt_tokens_option(default=576)
@_prefix_option(default=512)
@_count("--new-tokens", 128, "Maximum number of tokens per answer.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=20.0,
    show_default=True,
    metavar="N",
    help="Stop sending new requests N seconds after a turn starts.",
)
@_count(
    "--rounds",
    3,
    "Run N rounds, each with these turns: the engine alone, the server, the server with "
    "streaming, and a single client.",
)
@click.option(
    "--max-requests",
    type=click.IntRange(1),
    metavar="N",
    help="Maximum number of requests per turn; by default 100 per client.",
)
def serve(model: str, new_tokens: int, as_json: bool, **load: Any) -> int | None:
    """Measure the server's overhead under load.

    Print the tokens per second and the time to the first token. The server, which
    runs a one-node architecture, and the clients run in separate processes. The ratio is the
    server's tokens per second over the engine's, for the same kind of requests. The column
    "deducted" is the ratio without the clients' CPU time.
    """
    _check_prefix(load)
    require("torch", "engine")
    for package in ("starlette", "uvicorn", "prometheus_client"):
        require(package, "serve")
    from archon.bench.machine import describe_machine
    from archon.bench.serve.closed_loop import engine_alone, prompt_ids_of
    from archon.bench.serve.overhead import measure_overhead, tables
    from archon.bench.serve.server_process import serving
    from archon.graph.loading import Loader
    from archon.lm.local.lm import LocalLM

    card, _ = _local_model(model)
    lm = Loader().model(model).open()
    if not isinstance(lm, LocalLM):
        raise UsageError(f"{card.name!r} cannot generate text; choose a decoder")
    plan = _load_plan(lm, load)
    [first] = plan.questions.asks(0, 1, 1)
    sampling = {**_SERVE_SAMPLING, "max_tokens": new_tokens}
    with _sigterm_as_interrupt(), serving(model, sampling, plan.num_clients) as server:
        overhead = measure_overhead(plan, engine_alone(lm, sampling), server, print_line)
        result = {
            "model": card.name,
            "machine": describe_machine(),
            "num_clients": plan.num_clients,
            "prompt_tokens": len(prompt_ids_of(lm, first.question)),
            "new_tokens": new_tokens,
            "seconds_per_turn": plan.seconds,
            **overhead.result(server.memory),
        }
    out = ResultPrinter(as_json)
    for table in tables(result):
        out.table(table)
    _print_server_notes(result, out)
    if as_json:
        emit(result)
    if overhead.interrupted:
        return INTERRUPTED
    return FAILED if result["failures"] else None


def _load_plan(lm: LocalLM, load: Mapping[str, Any]) -> LoadPlan:
    from archon.bench.machine import num_cores
    from archon.bench.serve.closed_loop import prompt_ids_of
    from archon.bench.serve.overhead import LoadPlan
    from archon.bench.serve.questions import questions

    num_clients = load["num_prompts"] * load["samples_per_prompt"]
    return LoadPlan(
        questions=questions(
            load["prompt_tokens"],
            load["shared_prefix_tokens"],
            lambda text: len(prompt_ids_of(lm, text)),
        ),
        num_clients=num_clients,
        times=load["samples_per_prompt"],
        seconds=load["seconds"],
        rounds=load["rounds"],
        max_requests=load["max_requests"] or 100 * num_clients,
        cores=num_cores(),
    )


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C while the block runs, so that the server is stopped too."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _print_server_notes(result: dict[str, Any], out: ResultPrinter) -> None:
    memory = result["server_memory"]
    if memory:
        shown = ", ".join(f"{megabytes(m['bytes'])} at {m['seconds']:.0f} s" for m in memory)
        out.line(f"server memory: {shown}")
    out.line(
        f"texts identical to the engine's: {result['same_texts']} of {result['checked_texts']}"
    )
    for failure in result["failures"]:
        print_line(f"failed: {failure}")


# Shared


def _local_model(name: str) -> tuple[LocalCard, Path]:
    """Download a local model's weights; return the model card and the path to the weights."""
    loaded = load_model_card(name)
    card = local_card(loaded)
    return card, pull(card, loaded.base_dir)


def _print(figures: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit(figures)
        return
    out = ResultPrinter()
    for name, value in figures.items():
        if isinstance(value, dict):
            _print({f"{name}_{key}": part for key, part in value.items()}, as_json)
            continue
        shown = f"{value:,.2f}" if isinstance(value, float) else f"{value}"
        out.line(f"{name.replace('_', ' ')}: {shown}")
