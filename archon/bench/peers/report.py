"""What a comparison found, as the JSON object that is printed, kept and drawn, and as lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from archon.bench.engine import Workload
from archon.bench.machine import describe_machine, num_cores
from archon.bench.peers.compare import Comparison
from archon.bench.peers.measure import measure_roofline
from archon.bench.roofline import Roofline
from archon.engine.loading import open_model
from archon.engine.model.config import DecoderConfig, config_of


def rooflines(config: DecoderConfig, comparison: Comparison, threads: int) -> dict[str, Roofline]:
    """The roofline of each precision in which Archon ran."""
    precisions = {e.task.precision for e in comparison.entries if e.is_archon and e.rounds}
    return {name: measure_roofline(config, name, threads) for name in sorted(precisions)}


def workload_figures(
    name: str,
    workload: Workload,
    comparison: Comparison,
    bounds: Mapping[str, Roofline],
    *,
    decode_only: bool,
) -> dict[str, Any]:
    """One workload: what was asked, every contender, the ratios, the rooflines."""
    contenders = []
    for entry in comparison.entries:
        figures = entry.figures()
        rate = figures["completion_tokens_per_second"]
        bound = bounds.get(entry.task.precision) if entry.is_archon else None
        if bound is not None and rate is not None:
            figures["share_of_roofline"] = bound.share(workload, rate, decode_only=decode_only)
        contenders.append(figures)
    return {
        "workload": name,
        **asdict(workload),
        "decode_only": decode_only,
        "contenders": contenders,
        "ratios": comparison.ratios(),
        "rooflines": [bound.figures(workload) for bound in bounds.values()],
    }


def engine_shares(path: Path, figures: Mapping[str, Any]) -> dict[str, Any]:
    """What ``archon bench engine`` adds to its figures: the roofline, and the shares of it."""
    sizes = {name: figures[name] for name in Workload.__dataclass_fields__}
    workload = Workload(**sizes)
    bound = measure_roofline(config_of(open_model(path)), figures["precision"], num_cores())
    whole, decode = (figures[f"{kind}_tokens_per_second"] for kind in ("completion", "decode"))
    return {
        "share_of_roofline": bound.share(workload, whole, decode_only=False),
        "decode_share_of_roofline": bound.share(workload, decode, decode_only=True),
        "roofline": bound.figures(workload),
    }


def result(
    model: str, pairs: int, threads: int, workloads: Sequence[Mapping[str, Any]], interrupted: bool
) -> dict[str, Any]:
    """The object that ``--json`` prints."""
    return {
        "model": model,
        "machine": describe_machine(),
        "threads": threads,
        "pairs": pairs,
        "workloads": list(workloads),
        "interrupted": interrupted,
    }


def lines(workload: Mapping[str, Any]) -> Iterator[str]:
    """One workload's figures for people."""
    what = "decoding alone" if workload["decode_only"] else "prefill included, cold cache"
    yield f"{workload['workload']}: completion tokens a second, {what}; medians of the rounds"
    for contender in workload["contenders"]:
        yield f"  {contender['name']}: {_contender(contender, workload)}"
    for ratio in workload["ratios"]:
        yield (
            f"  {ratio['archon']} / {ratio['peer']}: {ratio['ratio']:.2f} × "
            f"({ratio['lowest']:.2f} to {ratio['highest']:.2f})"
        )
    for bound in workload["rooflines"]:
        yield (
            f"  roofline {bound['precision']}: {bound['completion_tokens_per_second']:,.0f} "
            f"tokens/s, decoding {bound['decode_tokens_per_second']:,.0f}; "
            f"{bound['read_bytes_per_second'] / 1e9:.1f} GB/s read, "
            f"{bound['linear_rows_per_second']:,.0f} rows/s through the layers, "
            f"{bound['head_rows_per_second']:,.0f} through the head"
        )


def _contender(contender: Mapping[str, Any], workload: Mapping[str, Any]) -> str:
    rate, settings = contender["completion_tokens_per_second"], contender["settings"] or {}
    notes = [f"left out: {contender['failure']}"] if contender["failure"] else []
    if rate is None:
        return notes[0] if notes else "no round finished"
    notes += [str(settings[key]) for key in ("format", "precision") if key in settings]
    if "share_of_roofline" in contender:
        notes.append(f"{100 * contender['share_of_roofline']:.0f} % of the roofline")
    if "rows" in settings:
        notes.append(f"{settings['rows']} sequences at once")
    timed = contender["rounds"][0]["num_prompts"]
    if timed < workload["num_prompts"]:
        notes.append(f"timed on {timed} of {workload['num_prompts']} prompts and scaled up")
    return f"{rate:,.1f} ({'; '.join(notes)})"
