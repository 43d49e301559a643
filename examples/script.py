"""Answer a question from a script: python examples/script.py [MODEL]."""

from __future__ import annotations

import sys

import archon


def main() -> None:
    solver = sys.argv[1] if len(sys.argv) > 1 else "qwen2.5-coder-0.5b"
    architecture = archon.load("self-consistency", models={"solver": solver})
    answer = architecture.run("What is 17 * 23?", seed=1)
    print(answer.text)
    for candidate in answer.candidates:
        print(f"{candidate.score:g} votes for {candidate.value}")
    print(f"{answer.cost_tokens} tokens in {answer.usage.calls} calls")


if __name__ == "__main__":
    main()
