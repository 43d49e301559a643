"""The sums of a measurement: rates, shares of the engine's, first tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archon.bench.serve.client import Answers

GOALS = {"whole": 0.9, "streamed": 0.75}
"""Least share of the engine's tokens a second, the clients' time deducted."""
FIRST_TOKEN_GOAL = 1.3
"""Most of the engine's time to a first token, for one client alone."""


@dataclass(slots=True)
class Tally:
    """All turns of one way to ask."""

    seconds: float = 0.0
    client_cpu_seconds: float = 0.0
    model_cpu_seconds: float | None = 0.0
    """None where a turn does not tell."""
    completion_tokens: int = 0
    num_answers: int = 0
    first_token_seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, answers: Answers) -> None:
        """One turn more."""
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
        """Tokens a second; with a number of cores, in the time that the clients left.

        The cores had ``seconds × num_cores`` to give, of which the clients took theirs.
        """
        taken = 0.0 if num_cores is None else self.client_cpu_seconds / num_cores
        left = self.seconds - taken
        return self.completion_tokens / left if left > 0 else None

    def cpu_per_token(self) -> float | None:
        """Seconds of the cores that a token took, the clients' left out.

        What other programs do on the machine changes it little.
        """
        if self.model_cpu_seconds is None or not self.completion_tokens:
            return None
        return self.model_cpu_seconds / self.completion_tokens


def quantile(values: Sequence[float], share: float) -> float | None:
    """The least value that so large a share of them does not exceed.

    >>> quantile([4.0, 1.0, 3.0, 2.0], 0.5), quantile([], 0.5)
    (2.0, None)
    """
    if not values:
        return None
    at = max(0, -int(-share * len(values) // 1) - 1)
    return sorted(values)[at]


def summary(loads: Mapping[str, Tally], alone: Mapping[str, Tally], cores: int) -> dict[str, Any]:
    """Figures of each way, beside the engine's own.

    Parameters
    ----------
    loads : ``engine``, ``whole`` and ``streamed``, with all clients.
    alone : ``engine`` and ``streamed``, with one client at a time.
    """
    own, own_cpu = loads["engine"].rate(), loads["engine"].cpu_per_token()
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
            "cpu_ratio": _ratio(tally.cpu_per_token(), own_cpu),
            "ratio": _ratio(tally.rate(), own),
            "ratio_deducted": _ratio(tally.rate(cores), own),
        }
    return {
        "loads": rows,
        "first_token": {
            "alone": _first_tokens(alone["engine"], alone["streamed"]),
            "loaded": _first_tokens(loads["engine"], loads["streamed"]),
        },
        "failures": [f for t in (*loads.values(), *alone.values()) for f in t.failures][:20],
    }


def _first_tokens(engine: Tally, served: Tally) -> dict[str, Any]:
    """Seconds to the first token of both, and how much longer the server takes."""
    result: dict[str, Any] = {}
    for name, share in (("p50", 0.5), ("p95", 0.95)):
        own = quantile(engine.first_token_seconds, share)
        theirs = quantile(served.first_token_seconds, share)
        seconds = {"engine_seconds": own, "served_seconds": theirs}
        result[name] = {**seconds, "ratio": _ratio(theirs, own)}
    return result


def _ratio(value: float | None, base: float | None) -> float | None:
    return value / base if value is not None and base else None
