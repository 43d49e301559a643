"""Explanations of hub errors: the hub's own message, and what the user can do.

The client wraps the hub's answer in other errors. All errors of the chain are looked at, and the
most specific one decides (``archon.weights.hub_child.describe`` gives them as plain data).
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
    """What the hub was asked for."""

    repository: str
    endpoint: str
    kind: Literal["model", "dataset"] = "model"
    file: str | None = None
    revision: str | None = None

    @property
    def page(self) -> str:
        """The address of the repository's page."""
        folder = "datasets/" if self.kind == "dataset" else ""
        return f"{self.endpoint.rstrip('/')}/{folder}{self.repository}"


def explain(causes: Sequence[Cause], wanted: Wanted) -> str:
    """What went wrong and what helps, in one line."""
    for matches, reason in _REASONS:
        for cause in causes:
            if matches(cause):
                return reason(cause, wanted)
    first = causes[0]
    told = causes[1] if _is_wrapper(first) and len(causes) > 1 else first
    return _hub_message(told) or _line(told["message"].split("\n")[0])


def _gated(cause: Cause, wanted: Wanted) -> str:
    said = _sentence(_hub_message(cause) or "access to it is restricted")
    cure = f"accept its conditions on {wanted.page}, and set HF_TOKEN to a token of that account"
    return f"the repository is gated. {said} {_capital(cure)}"


def _disabled(cause: Cause, wanted: Wanted) -> str:
    return f"the hub has disabled the repository. {_sentence(_hub_message(cause) or '')}".strip()


def _no_revision(cause: Cause, wanted: Wanted) -> str:
    reason = f"the repository has no revision {wanted.revision!r}; check 'revision'"
    return f"{reason} ({wanted.page})" + _in_brackets(cause)


def _no_file(cause: Cause, wanted: Wanted) -> str:
    what = "such file" if wanted.file is None else f"file {wanted.file!r}"
    reason = f"the repository has no {what} at the revision {wanted.revision!r}"
    return f"{reason}; see {wanted.page}/tree/{wanted.revision}" + _in_brackets(cause)


def _no_repository(cause: Cause, wanted: Wanted) -> str:
    reason = f"the hub has no {wanted.kind} of this name, or it is private; check the name"
    return f"{reason}, and for a private one set HF_TOKEN" + _in_brackets(cause)


def _rejected_token(cause: Cause, wanted: Wanted) -> str:
    said = _hub_message(cause) or "the status is 401"
    return f"the hub rejects the access token: {said}; check HF_TOKEN and `hf auth login`"


def _forbidden(cause: Cause, wanted: Wanted) -> str:
    said = _hub_message(cause) or "the status is 403"
    return f"the hub refuses access: {said}; the token in HF_TOKEN needs read access"


def _missing(cause: Cause, wanted: Wanted) -> str:
    said = _hub_message(cause) or _line(cause["message"])
    return f"the hub has nothing of this name: {said}; check repository, file and revision"


def _too_many(cause: Cause, wanted: Wanted) -> str:
    said = _hub_message(cause) or "too many requests"
    wait = f" in {cause['retry_after']} seconds" if cause["retry_after"] else " later"
    return f"the hub limits the rate of requests: {said}; try again{wait}, or set HF_TOKEN"


def _out_of_order(cause: Cause, wanted: Wanted) -> str:
    said = _hub_message(cause)
    status = f"the hub answers with status {cause['status']}"
    return f"{status}{f': {said}' if said else ''}; try again later"


def _offline(cause: Cause, wanted: Wanted) -> str:
    return "HF_HUB_OFFLINE is set, and the hub's cache does not contain the file"


def _disk_full(cause: Cause, wanted: Wanted) -> str:
    reason = f"{os.strerror(cause['errno'])}{_of_file(cause)}"
    return f"{reason}; free disk space, or set HF_HOME to a folder on another disk"


def _not_writable(cause: Cause, wanted: Wanted) -> str:
    reason = f"{os.strerror(cause['errno'])}{_of_file(cause)}"
    return f"{reason}; set HF_HOME to a folder that you can write to"


def certificate_reason(message: str) -> str:
    """What is wrong with a server's certificate, and what helps."""
    cure = "behind a proxy that inspects traffic, set SSL_CERT_FILE to its certificates"
    return f"its certificate is not trusted: {_line(message)}; {cure}"


def is_certificate_error(message: str) -> bool:
    """Whether an error of a connection is about certificates."""
    return "CERTIFICATE_VERIFY_FAILED" in message or "certificate verify failed" in message


def _untrusted(cause: Cause, wanted: Wanted) -> str:
    return f"{wanted.endpoint}: {certificate_reason(cause['message'])}"


def _unreachable(cause: Cause, wanted: Wanted) -> str:
    cure = "check the connection, HTTPS_PROXY and HF_ENDPOINT"
    return f"no connection to {wanted.endpoint}: {_line(cause['message'])}; {cure}"


def _type(*names: str) -> Callable[[Cause], bool]:
    return lambda cause: _is(cause, *names)


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
    (_status(500, 599), _out_of_order),
    (_type("OfflineModeIsEnabled"), _offline),
    (_errno(*_NOT_ENOUGH_SPACE), _disk_full),
    (_errno(errno.EACCES, errno.EPERM, errno.EROFS), _not_writable),
    (lambda cause: is_certificate_error(cause["message"]), _untrusted),
    (
        _type("ConnectError", "TimeoutException", "NetworkError", "RemoteProtocolError"),
        _unreachable,
    ),
)
"""What to look for in a chain of errors, the most specific first, and what it means."""


def _is(cause: Cause, *names: str) -> bool:
    return any(name in cause["types"] for name in names)


def _is_wrapper(cause: Cause) -> bool:
    """Whether the client says only that something went wrong, and the cause says what."""
    return _is(cause, "LocalEntryNotFoundError")


def _hub_message(cause: Cause) -> str:
    """What the hub itself says, if anything."""
    message = cause["server_message"]
    return _line(str(message)) if message else ""


def _in_brackets(cause: Cause) -> str:
    message = _hub_message(cause)
    return f" (the hub's message: {message})" if message else ""


def _of_file(cause: Cause) -> str:
    return f": {cause['filename']}" if cause["filename"] else ""


def _line(message: str) -> str:
    """The message in one line of bounded length, without a full stop at its end."""
    text = re.sub(r"\s+", " ", message).strip()
    text = text if len(text) <= _MAX_MESSAGE else text[:_MAX_MESSAGE] + "…"
    return text.removesuffix(".")


def _sentence(text: str) -> str:
    return f"{_capital(text)}." if text else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
