"""``archon bench serve``: a server under load, beside the engine within it."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import click

from archon.cli.bench import local_model
from archon.cli.console import console, emit, megabytes
from archon.cli.exits import FAILED, INTERRUPTED
from archon.cli.options import command
from archon.errors import UsageError, require

if TYPE_CHECKING:
    from archon.bench.serve.client import Answers
    from archon.bench.serve.compare import Engine
    from archon.bench.serve.workload import Ask
    from archon.lm.local.lm import LocalLM

_SAMPLING = {"temperature": 0.8, "top_k": 40, "top_p": 1.0, "min_p": 0.0}
"""Of ``archon bench engine``; nothing is left to the card."""


@command
@click.option("--model", default="qwen2.5-coder-0.5b", show_default=True, help="A local decoder.")
@click.option("--num-prompts", type=click.IntRange(1), default=4, show_default=True)
@click.option(
    "--samples-per-prompt",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="Requests with the same prompt; there are as many clients as prompts times this.",
)
@click.option(
    "--prompt-tokens",
    type=click.IntRange(1),
    default=576,
    show_default=True,
    help="Tokens of each prompt, about; the shared prefix included.",
)
@click.option("--shared-prefix-tokens", type=click.IntRange(0), default=512, show_default=True)
@click.option(
    "--new-tokens",
    type=click.IntRange(1),
    default=128,
    show_default=True,
    help="Of each answer at the most.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=20.0,
    show_default=True,
    help="Of each turn: no request begins later.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="A round: the engine alone, the server, the server streaming; then one client alone.",
)
@click.option(
    "--max-requests", type=click.IntRange(1), help="Of a turn; by default 100 for each client."
)
def serve(
    model: str,
    num_prompts: int,
    samples_per_prompt: int,
    prompt_tokens: int,
    shared_prefix_tokens: int,
    new_tokens: int,
    seconds: float,
    rounds: int,
    max_requests: int | None,
    as_json: bool,
) -> int | None:
    """Tokens a second and first tokens through a server, beside the engine's own.

    The server, an architecture of one node, and its clients run in processes of their own. A ratio
    is the server's tokens a second over the engine's, the same requests given to both; "deducted"
    leaves out the share of the cores' time that the clients took.
    """
    if shared_prefix_tokens > prompt_tokens:
        raise UsageError("--shared-prefix-tokens cannot be more than --prompt-tokens")
    require("torch", "engine")
    for package in ("starlette", "uvicorn", "prometheus_client"):
        require(package, "serve")
    from archon import api
    from archon.bench.machine import describe_machine, num_cores
    from archon.bench.serve.compare import Plan, compare
    from archon.bench.serve.process import serving
    from archon.bench.serve.report import tables
    from archon.bench.serve.workload import questions
    from archon.lm.local.lm import LocalLM

    card, _ = local_model(model)
    lm = api.Loader().model(model).open()
    if not isinstance(lm, LocalLM):
        raise UsageError(f"{card.name!r} is no decoder")
    num_clients = num_prompts * samples_per_prompt
    plan = Plan(
        questions=questions(
            prompt_tokens, shared_prefix_tokens, lambda text: len(_prompt_ids(lm, text))
        ),
        num_clients=num_clients,
        times=samples_per_prompt,
        seconds=seconds,
        rounds=rounds,
        max_requests=max_requests or 100 * num_clients,
        cores=num_cores(),
    )
    [first] = plan.questions.asks(0, 1, 1)
    sampling = {**_SAMPLING, "max_tokens": new_tokens}
    with _ending_well(), serving(model, sampling, num_clients) as server:
        comparison = compare(plan, _engine(lm, sampling), server, _say)
        result = {
            "model": card.name,
            "machine": describe_machine(),
            "num_clients": num_clients,
            "prompt_tokens": len(_prompt_ids(lm, first.question)),
            "new_tokens": new_tokens,
            "seconds_per_turn": seconds,
            **comparison.result(server.memory),
        }
    for table in tables(result):
        console().print(table)
    _tell_the_rest(result)
    if as_json:
        emit(result)
    if comparison.interrupted:
        return INTERRUPTED
    return FAILED if result["failures"] else None


@contextmanager
def _ending_well() -> Iterator[None]:
    """SIGTERM is an interrupt meanwhile: the server must not outlive its measurement."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _engine(lm: LocalLM, sampling: dict[str, Any]) -> Engine:
    """The engine as the server would ask it, without the server."""
    from archon.bench.closed_loop import closed_loop
    from archon.bench.serve.client import Answers
    from archon.engine.sampling.request import GenerationRequest
    from archon.lm.local.lm import sampling_rule
    from archon.types import SamplingParams

    rule = sampling_rule(SamplingParams(**sampling))
    prompt_ids = lru_cache(1)(lambda question: tuple(_prompt_ids(lm, question)))

    def engine(asks: Sequence[Ask], *, num_clients: int, seconds: float, keep: int = 0) -> Answers:
        requests = [
            GenerationRequest(
                prompt_ids=prompt_ids(ask.question),
                draws=(0,),
                seed=ask.seed,
                rule=rule,
                max_tokens=sampling["max_tokens"],
                stop_ids=lm.tokenizer.stop_ids,
            )
            for ask in asks
        ]
        figures = closed_loop(lm.worker.engine, requests, num_clients, seconds)
        drawn = figures.generations
        return Answers(
            seconds=figures.seconds,
            model_cpu_seconds=figures.cpu_seconds,
            completion_tokens=sum(len(g.token_ids) for g in drawn.values()),
            num_answers=len(drawn),
            first_token_seconds=figures.first_token_seconds,
            texts={n: lm.tokenizer.decode(g.token_ids) for n, g in drawn.items() if n < keep},
        )

    return engine


def _prompt_ids(lm: LocalLM, question: str) -> list[int]:
    from archon.types import Message

    return lm.chat.encode((Message("user", question),))


def _tell_the_rest(result: dict[str, Any]) -> None:
    memory = result["server_memory"]
    if memory:
        shown = ", ".join(f"{megabytes(m['bytes'])} at {m['seconds']:.0f} s" for m in memory)
        _say(f"memory of the server: {shown}")
    _say(f"texts equal to the engine's: {result['same_texts']} of {result['checked_texts']}")
    for failure in result["failures"]:
        _say(f"failed: {failure}")


def _say(line: str) -> None:
    console().print(line, soft_wrap=True)
