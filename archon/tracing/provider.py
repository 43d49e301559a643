"""The tracer that this process has configured, if any, and whether spans contain texts."""

from __future__ import annotations

import os
import sys
from typing import Any

CAPTURE_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""Environment variable that allows prompts and completions in spans."""
_CAPTURING = {"true", "1", "span_only", "span_and_event"}

_cached: tuple[Any, Any] = (None, None)
"""The configured provider, and Archon's tracer from it."""


def tracer() -> Any | None:
    """Return Archon's OpenTelemetry tracer; None if the process has not configured OpenTelemetry.

    A process that has configured it has imported it, so nothing is imported here.
    """
    global _cached
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        return None
    if _cached[0] is not provider:
        _cached = provider, provider.get_tracer("archon")
    return _cached[1]


def captures_content() -> bool:
    """Return whether spans may contain prompts, completions and error messages."""
    return os.environ.get(CAPTURE_CONTENT, "").strip().lower() in _CAPTURING
