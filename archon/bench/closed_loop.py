"""The engine alone under a steady load: a request that ends makes room for the next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import islice
from time import perf_counter, process_time

from archon.engine.engine import Engine
from archon.engine.sampling.request import Generation, GenerationRequest, OnToken
from archon.engine.scheduling.sequence import Prompt


@dataclass(slots=True)
class LoopFigures:
    """What a load took."""

    seconds: float = 0.0
    """From the first request to the end of the last."""
    cpu_seconds: float = 0.0
    """Of this process in that time."""
    first_token_seconds: list[float] = field(default_factory=list)
    """Of each request that drew any token but an end, from when it was given to the engine."""
    generations: dict[int, Generation] = field(default_factory=dict)
    """By the number of their request."""


def closed_loop(
    engine: Engine, requests: Iterable[GenerationRequest], num_at_once: int, seconds: float
) -> LoopFigures:
    """Keep so many requests of one draw each in the engine; none begins after ``seconds``.

    The engine must be this thread's alone.
    """
    figures = LoopFigures()
    waiting = iter(enumerate(requests))
    under_way: dict[Prompt, int] = {}
    start, cpu_start = perf_counter(), process_time()
    while True:
        if (now := perf_counter()) - start < seconds:
            for number, request in islice(waiting, num_at_once - len(under_way)):
                timed = replace(request, on_token=_first(figures.first_token_seconds, now))
                under_way[engine.add(timed)] = number
        if not under_way:
            break
        for prompt, generations in engine.step().items():
            figures.generations[under_way.pop(prompt)] = generations[0]
    figures.seconds = perf_counter() - start
    figures.cpu_seconds = process_time() - cpu_start
    return figures


def _first(seconds: list[float], start: float) -> OnToken:
    """Notes when the first token comes, and stops nothing."""
    is_first = True

    def on_token(index: int, token: int) -> bool:
        nonlocal is_first
        if is_first:
            is_first = False
            seconds.append(perf_counter() - start)
        return False

    return on_token
