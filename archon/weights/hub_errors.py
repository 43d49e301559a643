"""Explain the hub's errors, with the hub's own message and what the user can do.

The client wraps the hub's error in other errors. ``archon.weights.hub_child.describe`` returns all
errors of the chain as plain data. The most specific error determines the explanation.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

_MAX_MESSAGE = 400
_NOT_ENOUGH_SPACE = (errno.ENOSPC, errno.EDQUOT)

Cause = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The repository, file and revision that were requested from the hub."""

    repository: str
    endpoint: str
    kind: Literal["model", "dataset"] = "model"
    file: str | None = None
    revision: str | None = None

    @property
    def page(self) -> str:
        """URL of the repository's page."""
        folder = "datasets/" if self.kind == "dataset" else ""
        return f"{self.endpoint.rstrip('/')}/{folder}{self.repository}"


def explain(causes: Sequence[Cause], wanted: Wanted) -> str:
    """Return one line that says what went wrong and what to do.

    Parameters
    ----------
    causes
        The error and its causes, from ``hub_child.describe``.
    """
    for matches, reason in _REASONS:
        for cause in causes:
            if matches(cause):
                return reason(cause, wanted)
    first = causes[0]
    # This wrapper of the client says only that something went wrong.
    if "LocalEntryNotFoundError" in first["types"] and len(causes) > 1:
        first = causes[1]
    return _hub_message(first) or _line(first["message"].split("\n")[0])


def _gated(cause: Cause, wanted: Wanted) -> str:
    message = _sentence(_hub_message(cause) or "access to it is restricted")
    remedy = f"Accept its conditions on {wanted.page}, and set HF_TOKEN to a token of that account"
    return f"the repository is gated. {message} {remedy}"


def _disabled(cause: Cause, wanted: Wanted) -> str:
    return f"the hub has disabled the repository. {_sentence(_hub_message(cause) or '')}".strip()


def _no_revision(cause: Cause, wanted: Wanted) -> str:
    reason = f"the repository has no revision {wanted.revision!r}; check 'revision'"
    return f"{reason} ({wanted.page})" + _in_parentheses(cause)


def _no_file(cause: Cause, wanted: Wanted) -> str:
    what = "the requested file" if wanted.file is None else f"the file {wanted.file!r}"
    reason = f"the repository does not have {what} at the revision {wanted.revision!r}"
    return f"{reason}; see {wanted.page}/tree/{wanted.revision}" + _in_parentheses(cause)


def _no_repository(cause: Cause, wanted: Wanted) -> str:
    reason = f"the hub has no {wanted.kind} with this name, or it is private; check the name"
    return f"{reason}, or set HF_TOKEN if it is private" + _in_parentheses(cause)


def _rejected_token(cause: Cause, wanted: Wanted) -> str:
    message = _hub_message(cause) or "the status is 401"
    return f"the hub rejects the access token: {message}; check HF_TOKEN and `hf auth login`"


def _forbidden(cause: Cause, wanted: Wanted) -> str:
    message = _hub_message(cause) or "the status is 403"
    return f"the hub refuses access: {message}; the token in HF_TOKEN needs read access"


def _missing(cause: Cause, wanted: Wanted) -> str:
    message = _hub_message(cause) or _line(cause["message"])
    return (
        f"the hub did not find what was requested: {message}; check the repository, the file and "
        "the revision"
    )


def _too_many(cause: Cause, wanted: Wanted) -> str:
    message = _hub_message(cause) or "too many requests"
    wait = f" in {cause['retry_after']} seconds" if cause["retry_after"] else " later"
    return f"the hub limits the rate of requests: {message}; try again{wait}, or set HF_TOKEN"


def _server_error(cause: Cause, wanted: Wanted) -> str:
    message = _hub_message(cause)
    status = f"the hub answers with status {cause['status']}"
    return f"{status}{f': {message}' if message else ''}; try again later"


def _offline(cause: Cause, wanted: Wanted) -> str:
    return (
        "HF_HUB_OFFLINE is set, and the hub's cache does not contain the file; unset the variable "
        "to download the file"
    )


def _disk_full(cause: Cause, wanted: Wanted) -> str:
    return f"{_system_error(cause)}; free disk space, or set HF_HOME to a folder on another disk"


def _not_writable(cause: Cause, wanted: Wanted) -> str:
    return f"{_system_error(cause)}; set HF_HOME to a folder that you can write to"


def connection_reason(message: str) -> str:
    """Return why a connection failed and what to do, based on the error message."""
    if _is_certificate_error(message):
        remedy = "with a proxy that inspects traffic, set SSL_CERT_FILE to the proxy's certificates"
        return f"its certificate is not trusted: {_line(message)}; {remedy}"
    return f"{_line(message)}; check the connection, HTTPS_PROXY and HF_ENDPOINT"


def _is_certificate_error(message: str) -> bool:
    return "CERTIFICATE_VERIFY_FAILED" in message or "certificate verify failed" in message


def _unreachable(cause: Cause, wanted: Wanted) -> str:
    return f"no connection to {wanted.endpoint}: {connection_reason(cause['message'])}"


def _type(*names: str) -> Callable[[Cause], bool]:
    return lambda cause: any(name in cause["types"] for name in names)


def _status(first: int, last: int | None = None) -> Callable[[Cause], bool]:
    return lambda cause: cause["status"] is not None and first <= cause["status"] <= (last or first)


def _errno(*numbers: int) -> Callable[[Cause], bool]:
    return lambda cause: cause["errno"] in numbers


_REASONS: tuple[tuple[Callable[[Cause], bool], Callable[[Cause, Wanted], str]], ...] = (
    (_type("GatedRepoError"), _gated),
    (_type("DisabledRepoError"), _disabled),
    (_type("RevisionNotFoundError"), _no_revision),
    (_type("RemoteEntryNotFoundError"), _no_file),
    (_type("RepositoryNotFoundError"), _no_repository),
    (_status(401), _rejected_token),
    (_status(403), _forbidden),
    (_status(404), _missing),
    (_status(429), _too_many),
    (_status(500, 599), _server_error),
    (_type("OfflineModeIsEnabled"), _offline),
    (_errno(*_NOT_ENOUGH_SPACE), _disk_full),
    (_errno(errno.EACCES, errno.EPERM, errno.EROFS), _not_writable),
    (lambda cause: _is_certificate_error(cause["message"]), _unreachable),
    (
        _type("ConnectError", "TimeoutException", "NetworkError", "RemoteProtocolError"),
        _unreachable,
    ),
)
"""Pairs of a function that tests an error and a function that explains it, most specific first."""


def _hub_message(cause: Cause) -> str:
    """Return the hub's own message; "" if there is none."""
    message = cause["server_message"]
    return _line(str(message)) if message else ""


def _in_parentheses(cause: Cause) -> str:
    message = _hub_message(cause)
    return f" (the hub's message: {message})" if message else ""


def _system_error(cause: Cause) -> str:
    return os.strerror(cause["errno"]) + (f": {cause['filename']}" if cause["filename"] else "")


def _line(message: str) -> str:
    """Return the message as one line of limited length, without a final full stop."""
    text = re.sub(r"\s+", " ", message).strip()
    text = text if len(text) <= _MAX_MESSAGE else text[:_MAX_MESSAGE] + "…"
    return text.removesuffix(".")


def _sentence(text: str) -> str:
    return f"{_capital(text)}." if text else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
