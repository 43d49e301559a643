"""Configure OpenTelemetry from its standard environment variables (``OTEL_...``)."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from archon.errors import MissingExtraError, UsageError, require
from archon.spec.messages import shown
from archon.tracing.provider import tracer
from archon.warn_once import warn_once

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_OTLP = {
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "grpc": "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
}
"""Protocol → the module with its exporter."""
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
TIMEOUT_SECONDS = 3
"""Default of these variables. A process that ends waits this long for a server that is down."""


def start_tracing(*, is_requested: bool) -> None:
    """Configure OpenTelemetry, unless the process has done so, for example for its own spans.

    Parameters
    ----------
    is_requested
        Whether the user asked for it. Otherwise, it is configured only if the environment names
        an endpoint, and a missing package is no error.

    Raises
    ------
    MissingExtraError
        The user asked for it, and the extra ``otel`` is not installed.
    UsageError
        An environment variable has a value that is not supported.
    """
    has_endpoint = any(os.environ.get(name) for name in _ENDPOINTS)
    is_disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if is_disabled or not (is_requested or has_endpoint) or tracer() is not None:
        return
    try:
        exporter = _exporter()
    except MissingExtraError as error:
        if is_requested:
            raise
        logging.getLogger("archon").info("no tracing: %s", error)
        return
    if exporter is None:
        return
    sdk = require("opentelemetry.sdk.trace", "otel")
    export = require("opentelemetry.sdk.trace.export", "otel")
    resources = require("opentelemetry.sdk.resources", "otel")
    has_name = "service.name" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    named = {} if has_name or os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "archon"}
    provider = sdk.TracerProvider(resource=resources.Resource.create(named))
    provider.add_span_processor(export.BatchSpanProcessor(exporter))
    _warn_only_once()
    require("opentelemetry.trace", "otel").set_tracer_provider(provider)


def _exporter() -> Any | None:
    """Return the exporter that the environment names; None if it turns tracing off."""
    name = os.environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    if name == "none":
        return None
    if name == "console":  # standard output has only results
        export = require("opentelemetry.sdk.trace.export", "otel")
        return export.ConsoleSpanExporter(out=sys.stderr)
    if name != "otlp":
        raise UsageError(
            f"OTEL_TRACES_EXPORTER={shown(name)} is not supported; set it to otlp, console or "
            "none, or configure OpenTelemetry with opentelemetry-instrument"
        )
    protocol = next(
        (value for key in _PROTOCOLS if (value := os.environ.get(key))), "http/protobuf"
    )
    if protocol not in _OTLP:
        raise UsageError(f"the OTLP protocol {shown(protocol)} is none of {', '.join(_OTLP)}")
    has_timeout = any(os.environ.get(name) for name in _TIMEOUTS)
    options = {} if has_timeout else {"timeout": TIMEOUT_SECONDS}
    return require(_OTLP[protocol], "otel").OTLPSpanExporter(**options)


def _warn_only_once() -> None:
    """Turn the exporter's messages about each lost batch into one warning."""

    class Once(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING:
                warn_once("spans cannot be exported, and the work continues without them")
                logging.getLogger("archon").info("opentelemetry: %s", record.getMessage())

    logger = logging.getLogger("opentelemetry")
    logger.addHandler(Once())
    logger.propagate = False
