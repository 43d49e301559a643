"""Closed-loop load on the engine alone: a request that ends is replaced by the next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from time import perf_counter, process_time
from typing import Any

from archon.bench.serve.client import Answers
from archon.bench.serve.overhead import AskEngine
from archon.bench.serve.questions import Ask
from archon.engine.engine import Engine
from archon.engine.sampling.request import Generation, GenerationRequest, OnToken
from archon.engine.scheduling.sequence import Prompt
from archon.lm.local.lm import LocalLM, sampling_rule
from archon.types import Message, SamplingParams


@dataclass(slots=True)
class LoopFigures:
    """What a load took, and its results."""

    seconds: float = 0.0
    """From the first request to the end of the last."""
    cpu_seconds: float = 0.0
    """Of this process in that time."""
    first_token_seconds: list[float] = field(default_factory=list)
    """Of each request that sampled any token but an end, from when it was given to the engine."""
    generations: dict[int, Generation] = field(default_factory=dict)
    """By the number of their request."""


def closed_loop(
    engine: Engine, requests: Iterable[GenerationRequest], num_at_once: int, seconds: float
) -> LoopFigures:
    """Keep ``num_at_once`` requests of one sample each in the engine.

    No request starts after ``seconds``. No other thread may use the engine meanwhile.
    """
    figures = LoopFigures()
    waiting = iter(enumerate(requests))
    running: dict[Prompt, int] = {}
    start, cpu_start = perf_counter(), process_time()
    while True:
        if (now := perf_counter()) - start < seconds:
            for number, request in islice(waiting, num_at_once - len(running)):
                timed = replace(request, on_token=_first(figures.first_token_seconds, now))
                running[engine.add(timed)] = number
        if not running:
            break
        for prompt, generations in engine.step().items():
            figures.generations[running.pop(prompt)] = generations[0]
    figures.seconds = perf_counter() - start
    figures.cpu_seconds = process_time() - cpu_start
    return figures


def _first(seconds: list[float], start: float) -> OnToken:
    """A listener that notes the time of the first token, and stops nothing."""
    is_first = True

    def on_token(index: int, token: int) -> bool:
        nonlocal is_first
        if is_first:
            is_first = False
            seconds.append(perf_counter() - start)
        return False

    return on_token


def engine_alone(lm: LocalLM, sampling: dict[str, Any]) -> AskEngine:
    """The engine, asked as the server asks it, but without the server."""
    rule = sampling_rule(SamplingParams(**sampling))
    prompt_ids = lru_cache(1)(lambda question: tuple(prompt_ids_of(lm, question)))

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


def prompt_ids_of(lm: LocalLM, question: str) -> list[int]:
    """The whole prompt of a question, template included."""
    return lm.chat.encode((Message("user", question),))
