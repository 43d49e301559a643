"""Which status and which words a client gets for each error, and which the log.

A client learns what is wrong with its request. What went wrong behind the server may name addresses
and files, and may quote what the client said: neither the client nor the log (``archon.serve``) is
told more of it than the kinds of error and the place, but for a log of level debug.
"""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass, field

from archon.errors import (
    BudgetError,
    ContextLengthError,
    LMError,
    NodeError,
    UnsupportedError,
)
from archon.serve.admission import FullError
from archon.serve.requests import BadRequestError
from archon.serve.responses import Error, ErrorDetail

_log = logging.getLogger("archon.serve")

_TYPES = {429: "rate_limit_error"}
_ASK_NO_MORE = {"x-should-retry": "false"}
"""What the openai clients heed: to ask again what took too long would take as long again."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as a client sees it."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> Error:
        """The JSON object that describes it."""
        usual = "server_error" if self.status >= 500 else "invalid_request_error"
        kind = _TYPES.get(self.status, usual)
        return Error(
            error=ErrorDetail(message=self.message, type=kind, param=self.param, code=self.code)
        )


def failure(error: Exception) -> Failure:
    """What a client is told of an error; what it is not told goes to the log."""
    cause = error
    while isinstance(cause, NodeError) and isinstance(cause.__cause__, Exception):
        cause = cause.__cause__
    match cause:
        case BadRequestError():
            return Failure(cause.status, cause.message, cause.param, cause.code)
        case FullError():
            wait = {"Retry-After": str(cause.retry_after_seconds)}
            return Failure(429, str(cause), code="rate_limit_exceeded", headers=wait)
        case UnsupportedError():
            return Failure(400, str(cause), code="unsupported")
        case ContextLengthError():
            return Failure(400, str(cause), "messages", "context_length_exceeded")
        case BudgetError():
            return Failure(422, str(cause), code="budget_exhausted")
        case LMError(retryable=True):
            log_error("a model did not answer", error)
            reason = "the model did not answer; try again later"
            return Failure(503, reason, headers=_retry_after(cause))
        case LMError():
            log_error("a model did not answer", error)
            return Failure(502, "the model did not answer")
    log_error("a request failed", error, traceback.format_tb(error.__traceback__))
    return Failure(500, "internal error")


GOING = Failure(503, "the server is shutting down", code="shutting_down")
"""What those are told whose answers are not there when the server must end."""


def out_of_time(seconds: float) -> Failure:
    """A request that took longer than the server gives one."""
    reason = f"the answer took longer than {seconds:g} seconds (--max-seconds)"
    return Failure(504, reason, code="timeout", headers=_ASK_NO_MORE)


def log_error(what: str, error: BaseException, frames: list[str] | None = None) -> None:
    """One line with the kinds of error and the nodes that they met; all of it for debug alone."""
    kinds = []
    cause: BaseException | None = error
    while cause is not None:
        node = f" in node {cause.node!r}" if isinstance(cause, NodeError) else ""
        kinds.append(f"{type(cause).__name__}{node}")
        cause = cause.__cause__
    place = "".join(["\n", *frames]).rstrip() if frames else ""
    _log.error("%s: %s%s", what, " from ".join(kinds), place)
    _log.debug("%s", what, exc_info=error)


def _retry_after(error: LMError) -> dict[str, str]:
    if error.retry_after_seconds is None:
        return {}
    return {"Retry-After": str(max(1, round(error.retry_after_seconds)))}
