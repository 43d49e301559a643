"""``archon bench``: how fast the engine and a graph are on this machine, and how true."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from archon.cli.console import console, emit
from archon.cli.options import command
from archon.errors import UsageError
from archon.spec.model import LocalCard, Precision


@command
@click.option("--model", default="qwen2.5-coder-0.5b", show_default=True, help="A local model.")
@click.option("--precision", type=click.Choice(get_args(Precision)), help="By default the card's.")
@click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), help="By default CUDA where there is any."
)
@click.option("--num-prompts", type=click.IntRange(1), default=4, show_default=True)
@click.option("--samples-per-prompt", type=click.IntRange(1), default=16, show_default=True)
@click.option(
    "--prompt-tokens",
    type=click.IntRange(1),
    default=576,
    show_default=True,
    help="Tokens of each prompt, the shared prefix included.",
)
@click.option("--shared-prefix-tokens", type=click.IntRange(0), default=512, show_default=True)
@click.option("--new-tokens", type=click.IntRange(1), default=128, show_default=True)
@click.option(
    "--roofline/--no-roofline",
    default=True,
    show_default=True,
    help="Measure on the CPU what the machine would allow, and give the share of it.",
)
def engine(
    model: str, precision: Precision | None, as_json: bool, roofline: bool, **workload: Any
) -> None:
    """Tokens a second of the local engine on prompts that share a prefix."""
    from archon.errors import require

    if workload["shared_prefix_tokens"] > workload["prompt_tokens"]:
        raise UsageError("--shared-prefix-tokens cannot be more than --prompt-tokens")
    require("torch", "engine")
    from archon.bench.engine import run_engine_bench
    from archon.weights import cache_dir, identity

    card, path = local_model(model)
    figures = run_engine_bench(
        path,
        precision=precision or card.precision,
        model_id=identity(card, path),
        keep_in=cache_dir(),
        **workload,
    )
    if roofline and figures["device"] == "cpu":
        from archon.bench.peers.report import engine_shares

        figures |= engine_shares(path, figures)
    _tell({"model": card.name, **figures}, as_json)


@command
@click.argument("text", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", default="qwen2.5-coder-0.5b", show_default=True, help="A local model.")
@click.option("--num-tokens", type=click.IntRange(2), default=20_480, show_default=True)
@click.option("--window", type=click.IntRange(2, 4096), default=512, show_default=True)
def quality(text: Path, model: str, num_tokens: int, window: int, as_json: bool) -> None:
    """Perplexity of the file TEXT in every precision, and how far it is from float32's."""
    from archon.errors import require

    require("torch", "engine")
    from archon.engine.model.linear import PRECISIONS
    from archon.lm.local.quality import perplexities

    card, path = local_model(model)
    rows: list[dict[str, Any]] = []
    for row in perplexities(path, list(PRECISIONS), text, num_tokens=num_tokens, window=window):
        reference = rows[0]["perplexity"] if rows else row["perplexity"]
        rows.append({**row, "relative_change": row["perplexity"] / reference - 1})
        change = f"{100 * rows[-1]['relative_change']:+.2f} %"
        console().print(f"{row['precision']}: perplexity {row['perplexity']:.4f} ({change})")
    if as_json:
        emit({"model": card.name, "window": window, "rows": rows})


@command
@click.argument("arch", default="archon-figure")
@click.option("--num-questions", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--num-concurrent", type=click.IntRange(1), default=32, show_default=True)
def graph(arch: str, num_questions: int, num_concurrent: int, as_json: bool) -> None:
    """What the graph itself takes: questions through ARCH with the scripted model in every role."""
    from archon.api import load
    from archon.bench.graph import run_graph_bench
    from archon.spec.reader import load_architecture

    roles = load_architecture(arch).spec.models
    architecture = load(arch, dict.fromkeys(roles, "scripted"))
    _tell(run_graph_bench(architecture, num_questions, num_concurrent), as_json)


def local_model(name: str) -> tuple[LocalCard, Path]:
    """The card of a local model, and its weights on this machine."""
    from archon.cli.weights import pull
    from archon.spec.reader import load_model_card

    loaded = load_model_card(name)
    card = loaded.spec
    if not isinstance(card, LocalCard):
        raise UsageError(f"{card.name!r} is not a local model: its backend is {card.backend!r}")
    return card, pull(card, loaded.base_dir)


def _tell(figures: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit(figures)
        return
    for name, value in figures.items():
        if isinstance(value, dict):
            _tell({f"{name}_{key}": part for key, part in value.items()}, as_json)
            continue
        shown = f"{value:,.2f}" if isinstance(value, float) else f"{value}"
        console().print(f"{name.replace('_', ' ')}: {shown}")
