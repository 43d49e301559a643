"""The server's metrics, in the Prometheus text format (``GET /metrics``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from archon.serve import responses_fields
from archon.serve.admission import Admission
from archon.serve.fields import REQUEST, SAMPLING
from archon.serve.responses import usage
from archon.types import Completion

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_KNOWN_FIELDS = frozenset(
    {*REQUEST, *SAMPLING, "reasoning_effort", *responses_fields.REQUEST, *responses_fields.APPLIED}
)
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Metrics:
    """The metrics of one server."""

    def __init__(self, admission: Admission) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter(
            "archon_requests",
            "Finished requests by status; 499 means that the client disconnected.",
            ["model", "status"],
            registry=registry,
        )
        self.tokens = Counter(
            "archon_tokens",
            "Tokens across all nodes, by kind: distinct prompts, cached prompt tokens, "
            "completions.",
            ["model", "kind"],
            registry=registry,
        )
        self.ignored_fields = Counter(
            "archon_ignored_fields",
            "Request fields that were ignored although other servers may apply them.",
            ["model", "field"],
            registry=registry,
        )
        self.seconds = Histogram(
            "archon_request_seconds",
            "Seconds from the start of a request to the end of its response.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.first_token_seconds = Histogram(
            "archon_first_token_seconds",
            "Seconds from the start of a streamed request to the first text of its response.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        running = Gauge("archon_requests_running", "Running requests.", registry=registry)
        running.set_function(lambda: admission.running)
        waiting = Gauge("archon_requests_waiting", "Requests in the queue.", registry=registry)
        waiting.set_function(lambda: admission.waiting)

    def text(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return generate_latest(self._registry)


class RequestMetrics:
    """Records one request's metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics, self._start = metrics, monotonic()
        self._has_text = False
        self.model = ""
        """Name of the served model; empty if the request names none.

        Other names are not recorded, because clients must not be able to create labels."""
        self.status = 200

    def count_ignored(self, names: Iterable[str]) -> None:
        """Count ignored fields, with the ``unknown`` label for all unknown fields.

        Clients must not be able to create labels.
        """
        for name in names:
            label = name if name in _KNOWN_FIELDS else "unknown"
            self._metrics.ignored_fields.labels(self.model, label).inc()

    def note_first_token(self) -> None:
        """Record the time to the first token. Only the first call has an effect."""
        if not self._has_text:
            self._has_text = True
            seconds = monotonic() - self._start
            self._metrics.first_token_seconds.labels(self.model).observe(seconds)

    def count_tokens(self, completions: Sequence[Completion]) -> None:
        """Count the tokens of a finished request."""
        used = usage(completions)
        for kind, count in (
            ("prompt", used.prompt_tokens),
            ("cached", used.prompt_tokens_details.cached_tokens),
            ("completion", used.completion_tokens),
        ):
            self._metrics.tokens.labels(self.model, kind).inc(count)

    def finish(self) -> None:
        """Count the request with its status and duration."""
        self._metrics.requests.labels(self.model, str(self.status)).inc()
        self._metrics.seconds.labels(self.model).observe(monotonic() - self._start)
