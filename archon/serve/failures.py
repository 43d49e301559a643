"""Which status and which words a client gets for each error.

A client learns what is wrong with its request. What went wrong behind the server, which may name
addresses and files, goes to the log (``archon.serve``) and not to the client.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse

from archon.errors import (
    BudgetError,
    ContextLengthError,
    LMError,
    NodeError,
    UnsupportedError,
)
from archon.serve.openai import BadRequestError, error_object

_log = logging.getLogger("archon.serve")


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as a client sees it."""

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The JSON object that tells of it."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return error_object(self.message, kind, param=self.param, code=self.code)

    def response(self) -> JSONResponse:
        """The reply that tells of it."""
        return JSONResponse(self.body(), self.status, headers=self.headers)


def failure(error: Exception) -> Failure:
    """What a client is told of an error; what it is not told goes to the log."""
    cause = error
    while isinstance(cause, NodeError) and isinstance(cause.__cause__, Exception):
        cause = cause.__cause__
    match cause:
        case BadRequestError():
            return Failure(400, cause.message, cause.param, cause.code)
        case UnsupportedError():
            return Failure(400, str(cause), code="unsupported")
        case ContextLengthError():
            return Failure(400, str(cause), "messages", "context_length_exceeded")
        case BudgetError():
            return Failure(422, str(cause), code="budget_exhausted")
        case LMError(retryable=True):
            _log.warning("%s", error)
            return Failure(
                503, "the model did not answer; try again later", headers=_retry_after(cause)
            )
        case LMError():
            _log.error("%s", error)
            return Failure(502, "the model did not answer")
    _log.error("a request failed", exc_info=error)
    return Failure(500, "internal error")


def _retry_after(error: LMError) -> dict[str, str]:
    if error.retry_after_seconds is None:
        return {}
    return {"Retry-After": str(max(1, round(error.retry_after_seconds)))}
