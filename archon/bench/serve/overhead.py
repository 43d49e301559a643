"""Overhead of serving: rounds of the engine alone, the server, and the server with streaming."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from archon.bench.serve.client import Answers
from archon.bench.serve.questions import Ask, Questions
from archon.bench.serve.server_process import MeasuredServer

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

NUM_ALONE = 8
"""Number of requests in a turn of the single client, which measures the time to the first token."""
GOALS = {"whole": 0.9, "streamed": 0.75}
"""Minimum ratio of tokens per second, server to engine, after deducting the clients' CPU time."""
FIRST_TOKEN_GOAL = 1.3
"""Maximum ratio of the time to the first token, server to engine, with a single client."""
_NAMES = {"engine": "engine alone", "whole": "served", "streamed": "served, streamed"}


class AskEngine(Protocol):
    """Type of the function that runs requests on the engine without a server.

    It keeps the texts of the first ``keep`` answers.
    """

    def __call__(
        self, asks: Sequence[Ask], *, num_clients: int, seconds: float, keep: int = 0
    ) -> Answers: ...


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """Sizes of a measurement. A round consists of turns; in a turn, one target gets one load."""

    questions: Questions
    num_clients: int
    times: int
    """Number of requests per question."""
    seconds: float
    """Seconds of a turn after which no new request starts."""
    rounds: int
    max_requests: int
    """Maximum number of requests per turn."""
    cores: int


@dataclass(slots=True)
class Overhead:
    """Results of the measurement so far."""

    plan: LoadPlan
    loads: dict[str, LoadTally]
    alone: dict[str, LoadTally]
    num_checked: int = 0
    num_same: int = 0
    """Number of checked texts of the server that are equal to the engine's."""
    rounds: int = 0
    """Number of finished rounds."""
    interrupted: bool = False

    def result(self, memory: Sequence[Mapping[str, float]]) -> dict[str, Any]:
        """Return the figures as plain data.

        Parameters
        ----------
        memory
            The server's memory over time (``MeasuredServer.memory``).
        """
        return {
            "rounds": self.rounds,
            "interrupted": self.interrupted,
            **summary(self.loads, self.alone, self.plan.cores),
            "same_texts": self.num_same,
            "checked_texts": self.num_checked,
            "server_memory": list(memory),
        }


def measure_overhead(
    plan: LoadPlan, engine: AskEngine, server: MeasuredServer, report: Callable[[str], None]
) -> Overhead:
    """Warm up engine and server, compare their texts, and run the rounds.

    Ctrl-C ends the measurement and keeps the finished rounds.
    """
    comparison = Overhead(
        plan,
        {name: LoadTally() for name in ("engine", "whole", "streamed")},
        {name: LoadTally() for name in ("engine", "streamed")},
    )
    try:
        _warm_up(comparison, engine, server)
        server.note_memory()
        for number in range(plan.rounds):
            rates = _round(comparison, number, engine, server)
            comparison.rounds += 1
            report(f"round {number + 1}: tokens/s: {rates}")
    except KeyboardInterrupt:
        comparison.interrupted = True
    server.note_memory()
    return comparison


def _warm_up(comparison: Overhead, engine: AskEngine, server: MeasuredServer) -> None:
    plan = comparison.plan
    asks = plan.questions.asks(0, plan.num_clients, plan.times)
    settings: dict[str, Any] = {"num_clients": len(asks), "seconds": 1e9, "keep": len(asks)}
    expected = engine(asks, **settings)
    for streams in (False, True):
        served = server.load(asks, streams=streams, **settings)
        comparison.num_checked += len(served.texts)
        same = [text == expected.texts[number] for number, text in served.texts.items()]
        comparison.num_same += sum(same)


def _round(
    comparison: Overhead,
    number: int,
    engine: AskEngine,
    server: MeasuredServer,
) -> str:
    """Run all turns of a round, and add their results; return a text with the rates."""
    plan, first = comparison.plan, 1 + 5 * number
    asks = [plan.questions.asks(first + k, plan.max_requests, plan.times) for k in range(3)]
    settings: dict[str, Any] = {"num_clients": plan.num_clients, "seconds": plan.seconds}
    loads = {
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
    for tallies, turns in ((comparison.loads, loads), (comparison.alone, alone)):
        for name, turn in turns.items():
            tallies[name].add(turn)
    return ", ".join(
        f"{name} {turn.completion_tokens / turn.seconds:,.0f}" for name, turn in loads.items()
    )


# Figures


@dataclass(slots=True)
class LoadTally(Answers):
    """Totals over several turns, without texts."""

    model_cpu_seconds: float | None = 0.0
    """CPU time of the process with the model; None if a turn does not report it."""

    def add(self, answers: Answers) -> None:
        """Add the totals of a turn."""
        self.seconds += answers.seconds
        self.client_cpu_seconds += answers.client_cpu_seconds
        if self.model_cpu_seconds is None or answers.model_cpu_seconds is None:
            self.model_cpu_seconds = None
        else:
            self.model_cpu_seconds += answers.model_cpu_seconds
        self.completion_tokens += answers.completion_tokens
        self.num_answers += answers.num_answers
        self.first_token_seconds += answers.first_token_seconds
        self.failures += answers.failures

    def rate(self, num_cores: int | None = None) -> float | None:
        """Return the tokens per second.

        If the number of cores is given, the clients' share of the time is deducted. It is
        ``client_cpu_seconds / (seconds × num_cores)``.
        """
        deducted = 0.0 if num_cores is None else self.client_cpu_seconds / num_cores
        seconds = self.seconds - deducted
        return self.completion_tokens / seconds if seconds > 0 else None

    def cpu_per_token(self) -> float | None:
        """Return the CPU seconds per token without those of the clients; None if unknown.

        Other programs on the machine have little effect on this figure.
        """
        if self.model_cpu_seconds is None or not self.completion_tokens:
            return None
        return self.model_cpu_seconds / self.completion_tokens


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return a quantile: the smallest value that ``share`` of the values do not exceed.

    >>> quantile([4.0, 1.0, 3.0, 2.0], 0.5), quantile([], 0.5)
    (2.0, None)
    """
    if not values:
        return None
    at = max(0, -int(-share * len(values) // 1) - 1)
    return sorted(values)[at]


def summary(
    loads: Mapping[str, LoadTally], alone: Mapping[str, LoadTally], cores: int
) -> dict[str, Any]:
    """Return the figures of engine and server, and their ratios, as plain data.

    Parameters
    ----------
    loads
        The totals of ``engine``, ``whole`` and ``streamed`` with all clients.
    alone
        The totals of ``engine`` and ``streamed`` with a single client.
    """
    engine_rate, engine_cpu = loads["engine"].rate(), loads["engine"].cpu_per_token()
    rows: dict[str, Any] = {}
    for name, tally in loads.items():
        rows[name] = {
            "requests": tally.num_answers + len(tally.failures),
            "failures": len(tally.failures),
            "completion_tokens": tally.completion_tokens,
            "seconds": tally.seconds,
            "completion_tokens_per_second": tally.rate(),
            "client_cpu_seconds": tally.client_cpu_seconds,
            "cpu_seconds_per_token": tally.cpu_per_token(),
            "cpu_ratio": _ratio(tally.cpu_per_token(), engine_cpu),
            "ratio": _ratio(tally.rate(), engine_rate),
            "ratio_deducted": _ratio(tally.rate(cores), engine_rate),
        }
    return {
        "loads": rows,
        "first_token": {
            "alone": _first_tokens(alone["engine"], alone["streamed"]),
            "loaded": _first_tokens(loads["engine"], loads["streamed"]),
        },
        "failures": [f for t in (*loads.values(), *alone.values()) for f in t.failures][:20],
    }


def _first_tokens(engine: LoadTally, served: LoadTally) -> dict[str, Any]:
    """Return quantiles of the time to the first token for engine and server, and their ratios."""
    result: dict[str, Any] = {}
    for name, share in (("p50", 0.5), ("p95", 0.95)):
        base = quantile(engine.first_token_seconds, share)
        value = quantile(served.first_token_seconds, share)
        seconds = {"engine_seconds": base, "served_seconds": value}
        result[name] = {**seconds, "ratio": _ratio(value, base)}
    return result


def _ratio(value: float | None, base: float | None) -> float | None:
    return value / base if value is not None and base else None


# Tables


def tables(result: Mapping[str, Any]) -> list[RenderableType]:
    """Make the tables that ``archon bench serve`` prints."""
    return [_load_table(result["loads"]), _first_token_table(result["first_token"])]


def _load_table(loads: Mapping[str, Any]) -> Table:
    table = _table("", "requests", "failed", "tokens/s", "ratio", "deducted", "goal", "CPU/token")
    for name, row in loads.items():
        table.add_row(
            _NAMES[name],
            f"{row['requests']:,}",
            str(row["failures"]),
            _number(row["completion_tokens_per_second"], ",.0f"),
            _number(row["ratio"], ".3f"),
            _number(row["ratio_deducted"], ".3f"),
            f"≥ {GOALS[name]}" if name in GOALS else "",
            f"× {_number(row['cpu_ratio'], '.3f')}",
        )
    return table


def _first_token_table(first: Mapping[str, Any]) -> Table:
    table = _table("ms to the first token", "engine", "served", "ratio", "goal")
    for clients, quantiles in first.items():
        for name, row in quantiles.items():
            table.add_row(
                f"{'a single client' if clients == 'alone' else 'all clients'}, {name}",
                _number(row["engine_seconds"], ",.1f", scale=1000),
                _number(row["served_seconds"], ",.1f", scale=1000),
                _number(row["ratio"], ".2f"),
                f"≤ {FIRST_TOKEN_GOAL}" if (clients, name) == ("alone", "p50") else "",
            )
    return table


def _table(first: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None)
    table.add_column(first)
    for name in columns:
        table.add_column(name, justify="right")
    return table


def _number(value: float | None, format_spec: str, scale: float = 1) -> str:
    return "–" if value is None else format(scale * value, format_spec)
