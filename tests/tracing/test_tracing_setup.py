"""Configuration of OpenTelemetry by environment variables and options."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import pytest

from archon.errors import MissingExtraError, UsageError
from archon.tracing import setup

_QUESTION = ("-m", "archon", "run", "single", "2 + 2", "--model", "scripted", "--json")


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(setup, "tracer", lambda: None)


def test_a_missing_package_is_an_error_only_if_tracing_was_requested(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in setup._OTLP.values():
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"\[otel\]"):
        setup.start_tracing(is_requested=True)
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    setup.start_tracing(is_requested=False)
    assert "no tracing" in caplog.text


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "not supported; set it to otlp, console or none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "none of http/protobuf, grpc"),
    ],
)
def test_unsupported_values(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=message):
        setup.start_tracing(is_requested=True)


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")]
)
def test_tracing_can_be_turned_off(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setattr(setup, "require", lambda *names: pytest.fail("imported a package"))
    monkeypatch.setenv(name, value)
    setup.start_tracing(is_requested=True)


def test_failures_of_the_exporter_are_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("opentelemetry")
    before = logger.handlers[:], logger.propagate
    try:
        setup._warn_only_once()
        for _ in range(3):
            logging.getLogger("opentelemetry.exporter").error("connection refused")
    finally:
        logger.handlers[:], logger.propagate = before
    assert len(caplog.messages) == 1
    assert "cannot be exported" in caplog.messages[0]


def test_spans_of_the_sdk_go_to_standard_error() -> None:
    """With the real SDK: the command's only output is its result."""
    pytest.importorskip("opentelemetry.sdk.trace")
    variables = {**os.environ, "OTEL_TRACES_EXPORTER": "console"}
    arguments = [sys.executable, *_QUESTION, "--otel", "--trace-content"]
    done = subprocess.run(arguments, env=variables, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["text"]
    for name in ("invoke_workflow single", "chat scripted", "gen_ai.input.messages"):
        assert name in done.stderr
