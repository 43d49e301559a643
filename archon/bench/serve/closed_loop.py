"""Closed-loop load on the engine alone: the next request starts when one finishes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
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


def closed_loop(
    engine: Engine, requests: Iterable[GenerationRequest], num_concurrent: int, seconds: float
) -> tuple[Answers, dict[int, Generation]]:
    """Keep ``num_concurrent`` requests in the engine, each with one sample.

    No new request starts after ``seconds``. No other thread may use the engine during the call.

    Returns
    -------
    The figures, without texts, and the generations by the index of their request. The CPU time is
    that of this process. A request whose first token ends the sample has no time to the first
    token.
    """
    answers = Answers()
    generations: dict[int, Generation] = {}
    waiting = iter(enumerate(requests))
    running: dict[Prompt, int] = {}
    start, cpu_start = perf_counter(), process_time()
    while True:
        if (now := perf_counter()) - start < seconds:
            for number, request in islice(waiting, num_concurrent - len(running)):
                on_token = _first_token_listener(answers.first_token_seconds, now)
                running[engine.add(replace(request, on_token=on_token))] = number
        if not running:
            break
        for prompt, finished in engine.step().items():
            generations[running.pop(prompt)] = finished[0]
            answers.completion_tokens += len(finished[0].token_ids)
            answers.num_answers += 1
    answers.seconds = perf_counter() - start
    answers.model_cpu_seconds = process_time() - cpu_start
    return answers, generations


def _first_token_listener(seconds: list[float], start: float) -> OnToken:
    """Make a listener that records the time to the first token, and stops no sample."""
    is_first = True

    def on_token(index: int, token: int) -> bool:
        nonlocal is_first
        if is_first:
            is_first = False
            seconds.append(perf_counter() - start)
        return False

    return on_token


def engine_alone(lm: LocalLM, sampling: dict[str, Any]) -> AskEngine:
    """Return a function that runs requests for the server directly on the engine."""
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
        answers, generations = closed_loop(lm.worker.engine, requests, num_clients, seconds)
        kept = {n: g for n, g in generations.items() if n < keep}
        answers.texts = {n: lm.tokenizer.decode(g.token_ids) for n, g in kept.items()}
        return answers

    return engine


def prompt_ids_of(lm: LocalLM, question: str) -> list[int]:
    """Return the token ids of a question in the chat template."""
    return lm.chat.encode((Message("user", question),))
