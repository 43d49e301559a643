"""Convert exceptions to error responses and log lines.

If the request is at fault, the response contains the reason. Errors of the served models may
contain addresses, file names and other clients' texts, so for these errors the response contains
only a general message. The log (``archon.serve``) contains the types of these errors and where they
were raised. At the debug level, it also contains their messages.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field

from archon.errors import (
    BudgetError,
    ContextLengthError,
    LMError,
    NodeError,
    UnsupportedError,
)
from archon.serve.admission import FullError
from archon.serve.fields import BadRequestError
from archon.serve.responses import Error, ErrorDetail

_log = logging.getLogger("archon.serve")

CHAT_FIELDS = {"constraint": "response_format", "thinking": "chat_template_kwargs"}
"""Field of ``archon.types.Request`` → field of a chat request, if the names differ."""
_NO_RETRY = {"x-should-retry": "false"}
"""Header that stops OpenAI's clients from retrying, because a retry would take just as long."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The status, headers and error object of an error response."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> Error:
        """Return the JSON body of the response."""
        if self.status == 429:
            kind = "rate_limit_error"
        else:
            kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return Error(
            error=ErrorDetail(message=self.message, type=kind, param=self.param, code=self.code)
        )


def failure(error: Exception, fields: Mapping[str, str] = CHAT_FIELDS) -> Failure:
    """Return the error response for an exception, and log the details that clients must not see.

    ``fields`` maps fields of ``archon.types.Request`` to fields of the client's request, if the
    names differ.
    """
    cause = error
    while isinstance(cause, NodeError) and isinstance(cause.__cause__, Exception):
        cause = cause.__cause__
    match cause:
        case BadRequestError():
            return Failure(cause.status, cause.message, cause.param, cause.code)
        case FullError():
            headers = {"Retry-After": str(cause.retry_after_seconds)}
            return Failure(429, str(cause), code="rate_limit_exceeded", headers=headers)
        case UnsupportedError():
            param = fields.get(cause.field or "", cause.field)
            reason = str(cause) if param is None else f"{param}: {cause}"
            return Failure(400, reason, param, code="unsupported")
        case ContextLengthError():
            return Failure(
                400, str(cause), fields.get("messages", "messages"), "context_length_exceeded"
            )
        case BudgetError():
            return Failure(422, str(cause), code="budget_exhausted")
        case LMError(retryable=True):
            log_error("a model did not answer", error)
            reason = "the model did not answer; try again later"
            wait = cause.retry_after_seconds
            headers = {} if wait is None else {"Retry-After": str(max(1, round(wait)))}
            return Failure(503, reason, headers=headers)
        case LMError():
            log_error("a model did not answer", error)
            return Failure(502, "the model did not answer")
    log_error("a request failed", error, traceback.format_tb(error.__traceback__))
    return Failure(500, "internal error")


SHUTTING_DOWN = Failure(503, "the server is shutting down", code="shutting_down")
"""Response to requests that are unfinished when the server stops."""


def out_of_time(seconds: float) -> Failure:
    """Return the response to a request that took longer than ``max_seconds``."""
    reason = f"the answer took longer than {seconds:g} seconds (--max-seconds)"
    return Failure(504, reason, code="timeout", headers=_NO_RETRY)


def log_error(what: str, error: BaseException, frames: list[str] | None = None) -> None:
    """Log a line with the type of an error and the types of its causes.

    At the debug level, the messages and the traceback are also logged.

    Parameters
    ----------
    what
        Text at the beginning of the line, such as ``a request failed``.
    frames
        Traceback lines to add.
    """
    kinds = []
    cause: BaseException | None = error
    while cause is not None:
        node = f" in node {cause.node!r}" if isinstance(cause, NodeError) else ""
        kinds.append(f"{type(cause).__name__}{node}")
        cause = cause.__cause__
    place = "".join(["\n", *frames]).rstrip() if frames else ""
    _log.error("%s: %s%s", what, " from ".join(kinds), place)
    _log.debug("%s", what, exc_info=error)
