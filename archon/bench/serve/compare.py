"""The engine alone, the server, and the server streaming, in turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from archon.bench.serve.client import Answers
from archon.bench.serve.figures import Tally, summary
from archon.bench.serve.process import Server
from archon.bench.serve.workload import Ask, Questions

NUM_ALONE = 8
"""Requests of one client alone in each round, for the time to a first token."""


class Engine(Protocol):
    """Answers requests without a server, so many at once; ``keep`` texts are kept."""

    def __call__(
        self, asks: Sequence[Ask], *, num_clients: int, seconds: float, keep: int = 0
    ) -> Answers: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked, and for how long."""

    questions: Questions
    num_clients: int
    times: int
    """Each question is asked so often."""
    seconds: float
    """Of each turn: no request begins later."""
    rounds: int
    max_requests: int
    """Of each turn."""
    cores: int


@dataclass(slots=True)
class Comparison:
    """Turns so far."""

    plan: Plan
    loads: dict[str, Tally]
    alone: dict[str, Tally]
    num_checked: int = 0
    num_same: int = 0
    """Texts of the first requests that the server and the engine have in common."""
    rounds: int = 0
    """That are finished."""
    interrupted: bool = False

    def result(self, memory: Sequence[Mapping[str, float]]) -> dict[str, Any]:
        """All figures; memory is the server's."""
        return {
            "rounds": self.rounds,
            "interrupted": self.interrupted,
            **summary(self.loads, self.alone, self.plan.cores),
            "same_texts": self.num_same,
            "checked_texts": self.num_checked,
            "server_memory": list(memory),
        }


def compare(plan: Plan, engine: Engine, server: Server, say: Callable[[str], None]) -> Comparison:
    """Warm both up and see that they say the same; then round after round.

    An interrupt keeps the rounds that are finished.
    """
    comparison = Comparison(
        plan,
        {name: Tally() for name in ("engine", "whole", "streamed")},
        {name: Tally() for name in ("engine", "streamed")},
    )
    try:
        _warm_up(comparison, engine, server)
        server.note_memory()
        for number in range(plan.rounds):
            rates = _round(comparison, number, engine, server)
            comparison.rounds += 1
            say(f"round {number + 1}: tokens/s: {rates}")
    except KeyboardInterrupt:
        comparison.interrupted = True
    server.note_memory()
    return comparison


def _warm_up(comparison: Comparison, engine: Engine, server: Server) -> None:
    plan = comparison.plan
    asks = plan.questions.asks(0, plan.num_clients, plan.times)
    settings: dict[str, Any] = {"num_clients": len(asks), "seconds": 1e9, "keep": len(asks)}
    own = engine(asks, **settings)
    for streams in (False, True):
        served = server.load(asks, streams=streams, **settings)
        comparison.num_checked += len(served.texts)
        same = [text == own.texts[number] for number, text in served.texts.items()]
        comparison.num_same += sum(same)


def _round(
    comparison: Comparison,
    number: int,
    engine: Engine,
    server: Server,
) -> str:
    """Take all turns of a round; returns their rates in words."""
    plan, first = comparison.plan, 1 + 5 * number
    asks = [plan.questions.asks(first + k, plan.max_requests, plan.times) for k in range(3)]
    settings: dict[str, Any] = {"num_clients": plan.num_clients, "seconds": plan.seconds}
    done = {
        "engine": engine(asks[0], **settings),
        "whole": server.load(asks[1], streams=False, **settings),
        "streamed": server.load(asks[2], streams=True, **settings),
    }
    asks = [plan.questions.asks(first + k, NUM_ALONE, 1) for k in (3, 4)]
    settings = {"num_clients": 1, "seconds": plan.seconds}
    alone = {
        "engine": engine(asks[0], **settings),
        "streamed": server.load(asks[1], streams=True, **settings),
    }
    for tallies, answers in ((comparison.loads, done), (comparison.alone, alone)):
        for name, turn in answers.items():
            tallies[name].add(turn)
    return ", ".join(
        f"{name} {turn.completion_tokens / turn.seconds:,.0f}" for name, turn in done.items()
    )
