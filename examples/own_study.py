"""Search a space with a study of one's own: python examples/own_study.py [MODEL].

Optuna asks for points, a space makes architectures of them, and a benchmark says how good they
are. Sampler, pruner, storage and objective are whatever you like.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import optuna

import archon

SPACE = {
    "version": 1,
    "name": "votes",
    "models": {"solver": "scripted"},
    "nodes": {
        "draft": {
            "type": "generator",
            "model": "solver",
            "samples": {"$choice": [1, 4, 8], "$name": "samples"},
            "sampling": {"temperature": {"$float": [0.2, 1.2], "$name": "temperature"}},
        },
        "checked": {
            "$choice": [None, {"type": "verifier", "method": "equations", "inputs": ["draft"]}],
            "$name": "check",
        },
        "answer": {"type": "vote", "inputs": ["checked"]},
    },
    "output": "answer",
    "$forbid": [{"samples": 1, "check": {"not": None}}],
}


def main() -> None:
    solver = sys.argv[1] if len(sys.argv) > 1 else "qwen2.5-coder-0.5b"
    space = archon.Space.load(SPACE)
    models = {"solver": archon.lm(solver)}  # opened once for all trials
    folder = Path(tempfile.mkdtemp())

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        point = space.suggest(trial)
        if space.forbidding(point) is not None:
            raise optuna.TrialPruned
        architecture = archon.load(space.build(point).model_dump(mode="json"), models=models)
        report = archon.evaluate(
            architecture, "smoke", split="search", limit=8, output=folder / str(trial.number)
        )
        return report.accuracy or 0.0, report.cost_tokens or 0.0

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=optuna.samplers.NSGAIISampler(seed=1)
    )
    study.optimize(objective, n_trials=8)
    for best in study.best_trials:
        accuracy, tokens = best.values
        print(f"{100 * accuracy:.0f}% at {tokens:.0f} tokens: {best.params}")


if __name__ == "__main__":
    main()
