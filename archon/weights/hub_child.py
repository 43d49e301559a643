"""A script that calls a single function of the hub's client.

Its argument is ``[function, arguments]`` as JSON. It prints the path that the function returns. If
the function fails, it prints the error and its causes as JSON. It does not import Archon, so that
it starts quickly.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def describe(error: BaseException) -> list[dict[str, Any]]:
    """Return an error and all its causes as plain data, starting with the error itself.

    Suppressed causes are included: the client and the ``datasets`` library suppress the hub's own
    message when they raise an error of another type.
    """
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        cause = waiting.pop(0)
        if cause is not None and cause not in found:
            found.append(cause)
            waiting += [cause.__cause__, cause.__context__]
    return [_described(cause) for cause in found]


def _described(error: BaseException) -> dict[str, Any]:
    response = getattr(error, "response", None)
    headers = getattr(response, "headers", None) or {}
    server_message = headers.get("X-Error-Message") or getattr(error, "server_message", None)
    return {
        "types": [base.__name__ for base in type(error).__mro__],
        "message": str(error).strip() or type(error).__name__,
        "server_message": server_message,
        "status": getattr(response, "status_code", None),
        "retry_after": headers.get("Retry-After"),
        "errno": getattr(error, "errno", None),
        "filename": str(getattr(error, "filename", None) or ""),
    }


def main() -> None:
    import huggingface_hub

    call, arguments = json.loads(sys.argv[1])
    try:
        print(getattr(huggingface_hub, call)(**arguments))
    except Exception as error:
        sys.exit("ERROR: " + json.dumps(describe(error)))


if __name__ == "__main__":
    main()
