"""What the contract tests give to the commands: a benchmark, an architecture, a space."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TALK: dict[str, Any] = {"template": "cot", "shots": 0}
COLD: dict[str, Any] = {"temperature": 0.8, "top_p": 0.95, "max_tokens": 64}
JUDGED: dict[str, Any] = {
    "version": 1,
    "name": "judged",
    "description": "Every kind of judge, over a few samples.",
    "models": {"solver": "scripted", "judge": "scripted"},
    "nodes": {
        "draft": {"type": "generator", "model": "solver", "samples": 3, "prompt": TALK,
                  "sampling": COLD},
        "notes": {"type": "critic", "model": "judge", "inputs": ["draft"]},
        "best": {"type": "ranker", "model": "judge", "inputs": ["notes"], "method": "listwise",
                 "keep": 2},
        "merged": {"type": "fuser", "model": "solver", "inputs": ["best"]},
        "check": {"type": "verifier", "model": "judge", "inputs": ["merged"], "method": "logit"},
        "answer": {"type": "vote", "inputs": ["draft", "check"]},
    },
    "output": "answer",
}  # fmt: skip
VOTE: dict[str, Any] = {
    "version": 1,
    "name": "three-votes",
    "models": {"solver": "scripted"},
    "nodes": {
        "draft": {"type": "generator", "model": "solver", "samples": 3, "prompt": TALK,
                  "sampling": COLD},
        "answer": {"type": "vote", "inputs": ["draft"]},
    },
    "output": "answer",
}  # fmt: skip
SPACE: dict[str, Any] = {
    "version": 1,
    "name": "votes",
    "models": {"solver": "scripted"},
    "nodes": {
        "draft": {"type": "generator", "model": "solver",
                  "samples": {"$choice": [1, 2, 4, 6], "$name": "samples"},
                  "prompt": TALK,
                  "sampling": {"temperature": {"$choice": [0.4, 0.8], "$name": "temperature"},
                               "max_tokens": 64}},
        "judged": {"$choice": {"none": None,
                               "verifier": {"type": "verifier", "model": "solver",
                                            "inputs": ["draft"], "method": "logit"}},
                   "$name": "judge"},
        "answer": {"type": "vote", "inputs": ["judged"]},
    },
    "output": "answer",
}  # fmt: skip
BENCHMARK: dict[str, Any] = {
    "version": 1,
    "name": "terms",
    "source": {"jsonl": "terms.jsonl"},
    "fields": {"id": "id"},
}


def write_inputs(folder: Path) -> None:
    """Write ``judged.json``, ``vote.json``, ``space.json`` and the benchmark ``terms.json``."""
    for name, value in {
        "judged": JUDGED, "vote": VOTE, "space": SPACE, "terms": BENCHMARK
    }.items():  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(value))
    rows = []
    for number in range(60):
        a, b, c = 11 + 7 * number % 83, 3 + 5 * number % 47, 2 + number % 7
        question = f"What is {a} + {b} - {c}?"
        rows.append({"id": f"term-{number:02}", "question": question, "answer": str(a + b - c)})
    (folder / "terms.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
