"""Context managers that open the spans of a question, a node, a model call and a served request.

Each yields the span, or None if OpenTelemetry is not configured. Spans contain no prompts, answers
or error messages unless ``archon.tracing.provider.captures_content``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

from archon.errors import NodeError
from archon.spec.model import OpenAICard
from archon.tracing import attributes
from archon.tracing.provider import captures_content, tracer
from archon.types import Completion, Message, Question, Request, Usage

Span = Any
"""A span of OpenTelemetry, or None."""
_OFF: AbstractContextManager[Span] = nullcontext(None)


def question_span(architecture: str, question: Question) -> AbstractContextManager[Span]:
    """Open the span of an architecture's work on one question."""
    if (found := tracer()) is None:
        return _OFF
    given = {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.provider.name": attributes.ENGINE,
        "gen_ai.agent.name": architecture,
    }
    if captures_content():
        asked = (*question.history, Message("user", question.text))
        given |= attributes.input_messages(asked)
    return _opened(found, f"invoke_workflow {architecture}", "INTERNAL", given)


def node_span(name: str, node_type: str) -> AbstractContextManager[Span]:
    """Open the span of one node, which begins when all of its inputs have arrived."""
    if (found := tracer()) is None:
        return _OFF
    given = {"archon.node.name": name, "archon.node.type": node_type}
    return _opened(found, f"{node_type} {name}", "INTERNAL", given)


def call_span(lm: object, request: Request) -> AbstractContextManager[Span]:
    """Open the span of one request to a model.

    A request to an architecture has none, because its question has one.
    """
    if (found := tracer()) is None or hasattr(lm, "architecture"):
        return _OFF
    name, given = attributes.of_model(lm)
    kind: _Kind = "CLIENT" if isinstance(getattr(lm, "card", None), OpenAICard) else "INTERNAL"
    operation = attributes.operation(lm)
    given |= {"gen_ai.operation.name": operation, **attributes.of_request(request)}
    if captures_content():
        given |= attributes.input_messages(request.messages)
    return _opened(found, f"{operation} {name}", kind, given)


def served_span(
    method: str, route: str, headers: Iterable[tuple[bytes, bytes]]
) -> AbstractContextManager[Span]:
    """Open the span of a served request, as a child of the caller's span (``traceparent``).

    If an instrumentation of the server has already opened a span, there is no second one.
    """
    if (found := tracer()) is None:
        return _OFF
    from opentelemetry import propagate, trace

    if trace.get_current_span().get_span_context().is_valid:
        return _OFF
    carrier = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
    given = {"http.request.method": method, "http.route": route}
    context = propagate.extract(carrier)
    return _opened(found, f"{method} {route}", "SERVER", given, context=context)


def trace_headers() -> dict[str, str]:
    """Return the headers that let a server continue the trace, such as ``traceparent``."""
    if tracer() is None:
        return {}
    headers: dict[str, str] = {}
    from opentelemetry import propagate

    propagate.inject(headers)
    return headers


def record(span: Span, values: Callable[[], Mapping[str, Any]]) -> None:
    """Add attributes to a span, if there is one. They are computed only then."""
    if span is not None:
        span.set_attributes(values())


def record_status(span: Span, status: int) -> None:
    """Add the status of an HTTP response to the span of its request."""
    if span is None:
        return
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_attribute("error.type", str(status))
        span.set_status(sys.modules["opentelemetry.trace"].StatusCode.ERROR)


def record_completions(span: Span, completions: Sequence[Completion]) -> None:
    """Add the results of a call to its span."""
    if span is None:
        return
    span.set_attributes(attributes.of_completions(completions))
    if captures_content():
        span.set_attributes(attributes.output_messages(completions))


def record_answer(span: Span, text: str, usage: Usage, cost_tokens: int) -> None:
    """Add the answer of an architecture to the span of its question."""
    if span is None:
        return
    span.set_attributes({**attributes.of_usage(usage), "archon.cost_tokens": cost_tokens})
    if captures_content():
        answer = Completion(text, 0, "stop", usage, {})
        span.set_attributes(attributes.output_messages([answer]))


_Kind = Literal["INTERNAL", "CLIENT", "SERVER"]


@contextmanager
def _opened(
    found: Any, name: str, kind: _Kind, given: Mapping[str, Any], *, context: Any = None
) -> Iterator[Span]:
    """Open a span; if the block fails, mark it as failed with the class of the error."""
    trace = sys.modules["opentelemetry.trace"]
    with found.start_as_current_span(
        name,
        context=context,
        kind=trace.SpanKind[kind],
        attributes=given,
        record_exception=False,  # it would add messages and source lines, which may quote prompts
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except BaseException as error:
            span.set_attribute("error.type", type(_cause(error)).__name__)
            if isinstance(error, Exception):
                message = str(error) if captures_content() else None
                span.set_status(trace.StatusCode.ERROR, message)
            raise


def _cause(error: BaseException) -> BaseException:
    """Return the error of a model or tool that groups and errors of nodes wrap."""
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif isinstance(error, NodeError) and error.__cause__ is not None:
            error = error.__cause__
        else:
            return error
