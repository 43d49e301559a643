"""``archon run``: one question, with the nodes to be watched on a terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from archon.cli.console import console, emit
from archon.cli.options import command, models_by_role, models_option, seed_option
from archon.errors import UsageError

if TYPE_CHECKING:
    from archon.graph.architecture import Answer, Architecture
    from archon.lm.lazy import LazyLM


@command
@click.argument("arch")
@click.argument("question", required=False)
@models_option
@seed_option
@click.option("--trace", "with_trace", is_flag=True, help="Tell every prompt and completion.")
def run(
    arch: str,
    question: str | None,
    models: Sequence[str],
    seed: int,
    with_trace: bool,
    as_json: bool,
) -> None:
    """Answer one QUESTION, by default read from standard input, with the architecture ARCH."""
    from archon.api import Loader
    from archon.cli.weights import open_all
    from archon.graph.trace import candidate_json
    from archon.reasoning import cut_off_notice

    loader = Loader()
    architecture = loader.architecture(arch, models_by_role(models))
    text = _question(question)
    open_all(loader.lms)
    answer = asyncio.run(_answer(architecture, loader.lms, text, seed))
    if with_trace and not as_json:
        from archon.cli.trace import print_trace

        print_trace(answer.trace)
    if as_json:
        result = {
            "text": answer.text,
            "value": answer.value,
            "candidates": [candidate_json(candidate) for candidate in answer.candidates],
            "usage": asdict(answer.usage),
            "cost_tokens": answer.cost_tokens,
        }
        if answer.limited_by is not None:
            result["limited_by"] = answer.limited_by
        if num_cut_off := answer.trace.num_reasoning_cut_off:
            result["num_reasoning_cut_off"] = num_cut_off
        emit(result | ({"trace": answer.trace.to_json()} if with_trace else {}))
        return
    print(answer.text)
    value = "no value" if answer.value is None else f"value {answer.value}"
    console().print(
        f"{value}, cost {answer.cost_tokens} tokens, {answer.seconds:.1f} s", style="dim"
    )
    if num_cut_off := answer.trace.num_reasoning_cut_off:
        notice = cut_off_notice(num_cut_off, answer.usage.calls)
        console().print(notice, style="yellow", soft_wrap=True)
    if answer.limited_by is not None:
        cut = ", ".join(node.node for node in answer.trace.nodes.values() if node.cut)
        told = f"the budget of {answer.limited_by} cut it short: {cut}"
        console().print(told, style="yellow", soft_wrap=True)


async def _answer(
    architecture: Architecture, lms: Sequence[LazyLM], text: str, seed: int
) -> Answer:
    from archon.cli.tree import watched
    from archon.types import Question

    question = Question(text, answer=architecture.spec.answer)
    try:
        with watched(architecture) as on_event:
            return await architecture.answer(question, seed=seed, on_event=on_event)
    finally:
        for lm in lms:
            await lm.aclose()


def _question(given: str | None) -> str:
    """The argument, else standard input.

    Raises
    ------
    UsageError : there is no text, or it is not UTF-8.
    """
    if given is None:
        if sys.stdin.isatty():
            console().print("Type the question; end it with Ctrl-D.", style="dim")
        try:
            given = sys.stdin.buffer.read().decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise UsageError(f"standard input is not UTF-8: {error}") from None
    if not given.strip():
        raise UsageError("the question is empty")
    return given
