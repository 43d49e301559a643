"""``archon bench peers``: the local engine beside others, on the same weights and the same work."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import click

from archon.cli.bench import local_model
from archon.cli.console import console, emit
from archon.cli.exits import FAILED, INTERRUPTED
from archon.cli.options import command
from archon.errors import UsageError, require
from archon.spec.model import Precision

_SINGLE_PROMPT_TOKENS = 16
_RESULT_KEYS = {"model", "machine", "pairs", "workloads", "interrupted"}
_WORKLOAD_KEYS = {"workload", "contenders", "ratios", "rooflines"}
_DEFAULT_PEERS = "archon,llama.cpp,llama.cpp-q4_0,transformers"


def _in_a_folder(context: click.Context, parameter: click.Parameter, path: Path | None) -> Any:
    """Refuse a file that cannot be written, before anything is measured."""
    if path is not None and not path.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {path.absolute().parent}")
    return path


def _file(name: str, text: str) -> Callable[[Any], Any]:
    kind = click.Path(dir_okay=False, writable=True, path_type=Path)
    return click.option(name, type=kind, callback=_in_a_folder, help=text)


def _count(name: str, default: int, least: int, text: str | None = None) -> Callable[[Any], Any]:
    kind = click.IntRange(least)
    return click.option(name, type=kind, default=default, show_default=True, help=text)


@command
@click.option("--model", default="qwen2.5-coder-0.5b", show_default=True, help="A local model.")
@click.option(
    "--workload",
    "workloads",
    type=click.Choice(["graph", "single"]),
    multiple=True,
    default=["graph"],
    show_default=True,
    help="graph: many samples of prompts that begin alike, prefill included. single: one "
    "sequence, decoding alone. May be given twice.",
)
@_count("--num-prompts", 32, 1)
@_count("--samples-per-prompt", 16, 1)
@_count("--prompt-tokens", 960, 1, "Tokens of each prompt, the shared prefix included.")
@_count("--shared-prefix-tokens", 900, 0)
@_count("--new-tokens", 128, 2)
@click.option(
    "--precision", type=click.Choice(get_args(Precision)), help="Archon's; by default the card's."
)
@click.option(
    "--peers",
    "names",
    default=_DEFAULT_PEERS,
    show_default=True,
    help="Contenders, separated by commas; also llama.cpp-q8_0 and archon-PRECISION.",
)
@_count("--pairs", 3, 1, "Rounds of each contender.")
@click.option(
    "--peer-fraction",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the prompts in a peer's round; by default as many as fill --peer-seconds.",
)
@click.option(
    "--peer-seconds", type=click.FloatRange(0, min_open=True), default=75.0, show_default=True
)
@click.option("--threads", type=click.IntRange(1), help="By default all cores.")
@_file("--output", "Keep the JSON object in a file as well.")
@_file("--picture", "Draw the result as an SVG file.")
@click.option(
    "--from",
    "kept",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Draw a result kept by --output; measure nothing.",
)
def peers(
    workloads: Sequence[str], names: str, kept: Path | None, as_json: bool, **options: Any
) -> int | None:
    """Tokens a second of the local engine, llama.cpp and transformers, in turn, and ratios."""
    output, picture = options.pop("output"), options.pop("picture")
    if kept is not None and picture is None:
        raise UsageError("--from needs --picture, the file to draw")
    result = _read(kept) if kept is not None else _measure(dict.fromkeys(workloads), names, options)
    if output is not None:
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if picture is not None:
        from archon.bench.peers.picture import draw

        picture.write_text(draw(result), encoding="utf-8")
    if as_json:
        emit(result)
    if result["interrupted"] and kept is None:
        return INTERRUPTED
    rates = [
        c["completion_tokens_per_second"] for w in result["workloads"] for c in w["contenders"]
    ]
    return None if any(rates) else FAILED


def _measure(workloads: Mapping[str, None], names: str, options: dict[str, Any]) -> dict[str, Any]:
    if options["shared_prefix_tokens"] > options["prompt_tokens"]:
        raise UsageError("--shared-prefix-tokens cannot be more than --prompt-tokens")
    require("torch", "engine")
    from archon.bench.engine import Workload
    from archon.bench.machine import num_cores
    from archon.bench.peers.compare import compare
    from archon.bench.peers.contender import Task, check_names
    from archon.bench.peers.report import lines, result, rooflines, workload_figures
    from archon.engine.loading import open_model
    from archon.engine.model.config import config_of
    from archon.weights import identity

    contenders = check_names([name.strip() for name in names.split(",")])
    card, path = local_model(options["model"])
    config = config_of(open_model(path))
    threads = options["threads"] or num_cores()
    sizes = {name: options[name] for name in Workload.__dataclass_fields__}
    done: list[dict[str, Any]] = []
    interrupted = False
    for name in workloads:
        single = name == "single"
        workload = Workload(1, 1, _SINGLE_PROMPT_TOKENS, 0, sizes["new_tokens"])
        task = Task(
            path=str(path.absolute()),
            digest=identity(card, path),
            vocab_size=config.vocab_size,
            workload=workload if single else Workload(**sizes),
            decode_only=single,
            precision=options["precision"] or card.precision,
            threads=threads,
            fraction=options["peer_fraction"],
            round_seconds=options["peer_seconds"],
        )
        task.check(config.context_length)
        comparison = compare(contenders, task, options["pairs"], _say)
        interrupted, bounds = comparison.interrupted, {}
        if not interrupted:
            try:
                bounds = rooflines(config, comparison, threads)
            except KeyboardInterrupt:
                interrupted = True
        figures = workload_figures(
            name, task.workload, comparison, bounds, decode_only=task.decode_only
        )
        done.append(figures)
        for line in lines(figures):
            _say(line)
        if interrupted:
            break
    return result(card.name, options["pairs"], threads, done, interrupted)


def _say(line: str) -> None:
    console().print(line, soft_wrap=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8-sig"))
        if result.keys() >= _RESULT_KEYS and all(
            workload.keys() >= _WORKLOAD_KEYS for workload in result["workloads"]
        ):
            return result
    except (OSError, ValueError, AttributeError, TypeError):
        pass
    raise UsageError(f"{path}: not a result that archon bench peers kept")
