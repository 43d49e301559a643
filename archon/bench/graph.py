"""Overhead of running a graph: time and memory per question with a model that takes no time."""

from __future__ import annotations

import asyncio
import json
import tempfile
from time import perf_counter
from typing import Any

from archon.bench.machine import peak_memory_bytes
from archon.graph.architecture import Architecture
from archon.types import Question

WARM_UP_SHARE = 0.1
"""Share of the questions that warm up caches and the allocator; memory growth is measured after
them."""


def run_graph_bench(
    architecture: Architecture, num_questions: int = 1000, num_concurrent: int = 32
) -> dict[str, Any]:
    """Run an architecture on distinct questions, and write the trace of each answer to disk.

    Returns
    -------
    Figures by name. Milliseconds are wall time, including the writing of traces. Memory growth is
    that of the process's peak after the warm-up; it is None if the system does not report memory.
    """
    return asyncio.run(_bench(architecture, num_questions, num_concurrent))


async def _bench(
    architecture: Architecture, num_questions: int, num_concurrent: int
) -> dict[str, Any]:
    numbers = iter(range(num_questions))
    num_warm_up = int(num_questions * WARM_UP_SHARE)
    num_calls = 0
    peak_bytes_after_warm_up: int | None = None

    with tempfile.TemporaryFile("w", encoding="utf-8") as traces:

        async def work() -> None:
            nonlocal num_calls, peak_bytes_after_warm_up
            for number in numbers:
                if number == num_warm_up:
                    peak_bytes_after_warm_up = peak_memory_bytes()
                question = Question(f"What is {number} + {7 * number % 100}?")
                answer = await architecture.answer(question)
                num_calls += answer.usage.calls
                traces.write(json.dumps(answer.trace.to_json()) + "\n")

        start = perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(num_concurrent):
                group.create_task(work())
        seconds = perf_counter() - start

    peak_bytes = peak_memory_bytes()
    growth = None
    if peak_bytes is not None and peak_bytes_after_warm_up is not None:
        growth = peak_bytes - peak_bytes_after_warm_up
    return {
        "architecture": architecture.name,
        "num_questions": num_questions,
        "num_concurrent": num_concurrent,
        "calls_per_question": num_calls / num_questions,
        "milliseconds_per_question": 1000 * seconds / num_questions,
        "peak_memory_bytes": peak_bytes,
        "peak_memory_growth_bytes": growth,
    }
