"""A fake of the part of OpenTelemetry that Archon calls."""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class SpanKind(enum.Enum):
    INTERNAL = 0
    SERVER = 1
    CLIENT = 2


class FakeSpan:
    """A span that keeps its attributes."""

    def __init__(self, name: str, kind: SpanKind, parent: Any, attributes: Mapping[str, Any]):
        self.name, self.kind, self.parent = name, kind, parent
        self.attributes = dict(attributes)
        self.status: tuple[str, str | None] | None = None
        self.has_ended = False

    def set_attribute(self, name: str, value: Any) -> None:
        self.attributes[name] = value

    def set_attributes(self, values: Mapping[str, Any]) -> None:
        self.attributes |= values

    def set_status(self, code: str, message: str | None = None) -> None:
        self.status = code, message

    def get_span_context(self) -> Any:
        return SimpleNamespace(is_valid=True)


_NO_SPAN = SimpleNamespace(get_span_context=lambda: SimpleNamespace(is_valid=False))
_current: ContextVar[Any] = ContextVar("current", default=_NO_SPAN)


class FakeTracer:
    """A tracer whose spans are in the order in which they started."""

    def __init__(self) -> None:
        self.spans: list[FakeSpan] = []

    def get_tracer(self, name: str) -> FakeTracer:
        assert name == "archon"
        return self

    @contextmanager
    def start_as_current_span(
        self,
        name: str,
        *,
        context: Any,
        kind: SpanKind,
        attributes: Mapping[str, Any],
        record_exception: bool,
        set_status_on_exception: bool,
    ) -> Iterator[FakeSpan]:
        assert not record_exception
        assert not set_status_on_exception
        assert all(isinstance(v, str | int | float | tuple) for v in attributes.values())
        current = _current.get()
        parent = context or (current if isinstance(current, FakeSpan) else None)
        span = FakeSpan(name, kind, parent, attributes)
        self.spans.append(span)
        token = _current.set(span)
        try:
            yield span
        finally:
            span.has_ended = True
            _current.reset(token)


def fake_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> FakeTracer:
    """Install a fake of OpenTelemetry that is configured; return its tracer."""
    tracer = FakeTracer()
    trace, propagate, package = map(ModuleType, ("trace", "propagate", "opentelemetry"))
    vars(trace).update(
        SpanKind=SpanKind,
        StatusCode=SimpleNamespace(ERROR="ERROR"),
        ProxyTracerProvider=type("ProxyTracerProvider", (), {}),
        get_tracer_provider=lambda: tracer,
        get_current_span=_current.get,
    )
    vars(propagate).update(
        extract=lambda carrier: carrier.get("traceparent"),
        inject=lambda carrier: carrier.update(traceparent="00-1-2-01"),
    )
    vars(package).update(trace=trace, propagate=propagate)
    for name, module in (("", package), (".trace", trace), (".propagate", propagate)):
        monkeypatch.setitem(sys.modules, f"opentelemetry{name}", module)
    return tracer
