"""``archon run``: answer one question, with a live display of the nodes on a terminal."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import click

from archon.cli import completers
from archon.cli.console import console, emit, print_line
from archon.cli.free_text import FreeTextCommand
from archon.cli.options import (
    changes_options,
    command,
    models_by_role,
    models_option,
    seed_option,
    tracing_options,
)
from archon.errors import UsageError
from archon.spec.encoding import decode_text, without_marks
from archon.types import AnswerKind, Question

_UNDECODED = re.compile("[\ud800-\udfff]")
"""Matches the surrogates that Python substitutes for undecodable bytes of an argument."""

if TYPE_CHECKING:
    from archon.graph.answer import Answer
    from archon.graph.architecture import Architecture
    from archon.lm.lazy import LazyLM
    from archon.spec.changes import Changes


@partial(command, kind=FreeTextCommand)
@click.argument("arch", shell_complete=completers.names("architecture"))
@click.argument("question", required=False)
@models_option
@changes_options
@tracing_options
@click.option(
    "--answer",
    "kind",
    type=click.Choice(get_args(AnswerKind)),
    help="Type of the answer; by default the architecture's.",
)
@seed_option()
@click.option(
    "--trace",
    "with_trace",
    is_flag=True,
    help="Also print every prompt and completion, on standard error.",
)
def run(
    arch: str,
    question: str | None,
    models: Sequence[str],
    changes: Changes,
    kind: AnswerKind | None,
    seed: int,
    with_trace: bool,
    as_json: bool,
) -> None:
    """Answer one question.

    ARCH is a catalogue name or a path. Without QUESTION, the question is read from standard input.
    Only the answer goes to standard output.
    """
    from archon.cli.weights import open_all
    from archon.evals.compute import compute_text
    from archon.graph.loading import Loader
    from archon.graph.notes import advice
    from archon.graph.trace import candidate_json
    from archon.reasoning import cut_off_notice

    loader = Loader(changes=changes)
    architecture = loader.architecture(arch, models_by_role(models))
    text = _question(question)
    open_all(loader.lms)
    asked = Question(text, answer=kind or architecture.spec.answer)
    answer = asyncio.run(_answer(architecture, loader.lms, asked, seed))
    hint = advice(answer.value, asked.answer)
    notes = [*answer.notes, *filter(None, [hint])]
    num_cut_off = answer.trace.num_reasoning_cut_off
    if as_json:
        result: dict[str, Any] = {
            "text": answer.text,
            "value": answer.value,
            "candidates": [candidate_json(candidate) for candidate in answer.candidates],
            "usage": asdict(answer.usage),
            "cost_tokens": answer.cost_tokens,
            "compute": answer.compute,
            "usage_by_model": {n: asdict(usage) for n, usage in answer.usage_by_model.items()},
        }
        if answer.num_failed_samples:
            result["failed_samples"] = answer.num_failed_samples
        if answer.limited_by is not None:
            result["limited_by"] = answer.limited_by
        if notes:
            result["notes"] = notes
        if num_cut_off:
            result["num_reasoning_cut_off"] = num_cut_off
        emit(result | ({"trace": answer.trace.to_json()} if with_trace else {}))
        return
    if with_trace:
        from archon.cli.trace import print_trace

        print_trace(answer.trace)
    print(answer.text)
    value = "no value" if answer.value is None else f"value {answer.value}"
    cost = f"cost {answer.cost_tokens} tokens"
    if answer.compute is not None:
        cost += f" and {compute_text(answer.compute)}"
    console().print(f"{value}, {cost}, {answer.seconds:.1f} s", style="dim")
    warnings = notes
    if num_cut_off:
        warnings.append(cut_off_notice(num_cut_off, answer.usage.calls))
    if answer.limited_by is not None:
        cut = ", ".join(node.node for node in answer.trace.nodes.values() if node.cut)
        warnings.append(f"the budget of {answer.limited_by} cut the answer short at: {cut}")
    if answer.num_failed_samples:
        failed = f"{answer.num_failed_samples} of {answer.num_samples} samples failed"
        warnings.append(f"{failed}; --trace shows why")
    for warning in warnings:
        print_line(warning, "yellow")


async def _answer(
    architecture: Architecture, lms: Sequence[LazyLM], question: Question, seed: int
) -> Answer:
    from archon.cli.tree import live_tree
    from archon.cli.weights import close_all

    try:
        with live_tree(architecture) as on_event:
            return await architecture.answer(question, seed=seed, on_event=on_event)
    finally:
        await close_all(lms)


def _question(given: str | None) -> str:
    """Return the question, from the argument or from standard input, without byte-order marks.

    Raises
    ------
    UsageError
        The question is empty, or cannot be decoded.
    SpecError
        Standard input has an unknown encoding.
    """
    text = _standard_input() if given is None else without_marks(given)
    if not text.strip():
        raise UsageError("the question is empty; pass it as an argument or on standard input")
    if _UNDECODED.search(text):
        raise UsageError(
            "the question contains bytes that the locale's encoding cannot decode; "
            "pass it on standard input"
        )
    return text


def _standard_input() -> str:
    if sys.stdin is None:
        return ""
    if sys.stdin.isatty():
        console().print("Type the question, then press Ctrl-D on a new line.", style="dim")
    text = decode_text(sys.stdin.buffer.read(), "standard input")
    return without_marks(text).replace("\r\n", "\n").strip()
