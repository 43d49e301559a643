"""Many questions at once, one of them watched: python examples/asyncio_app.py [MODEL].

All questions meet in the engine's batch.
"""

from __future__ import annotations

import asyncio
import sys

import archon

QUESTIONS = ("What is 17 * 23?", "What is 250 - 38?", "What is 12 + 7 * 3?")


async def watch(architecture: archon.Architecture, question: str) -> None:
    async for event in architecture.astream(question):
        match event:
            case archon.NodeStarted(node=node):
                print(f"{node} starts")
            case archon.NodeFinished(node=node, candidates=candidates):
                print(f"{node} passes on {candidates}")
            case archon.Answer(value=value):
                print(f"the answer is {value}")


async def main() -> None:
    solver = sys.argv[1] if len(sys.argv) > 1 else "qwen2.5-coder-0.5b"
    architecture = archon.load("self-consistency", models={"solver": solver})
    await watch(architecture, QUESTIONS[0])
    answers = await asyncio.gather(*map(architecture.arun, QUESTIONS))
    for question, answer in zip(QUESTIONS, answers, strict=True):
        print(f"{question} {answer.value}")


if __name__ == "__main__":
    asyncio.run(main())
