"""A script that calls one function of the hub's client, or ``repository``.

Its argument is ``[function, arguments]`` as JSON. It prints the path or the data that the function
returns, or the error and its causes as JSON. It imports nothing of Archon, so that it starts
quickly.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
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


def repository(repo_id: str, revision: str, with_config: bool) -> str:
    """Describe a repository as JSON (``archon.weights.hub_repository.Repository``).

    Parameters
    ----------
    with_config
        Also fetch ``config.json``, which is not kept.
    """
    import huggingface_hub

    info = huggingface_hub.HfApi().model_info(repo_id, revision=revision, files_metadata=True)
    files = [
        {
            "name": file.rfilename,
            "bytes": file.size,
            "sha256": file.lfs.sha256 if file.lfs else None,
        }
        for file in info.siblings or []
    ]
    config = None
    if with_config and any(file["name"] == "config.json" for file in files):
        with tempfile.TemporaryDirectory() as folder:
            path = huggingface_hub.hf_hub_download(
                repo_id, "config.json", revision=info.sha or revision, local_dir=folder
            )
            config = json.loads(Path(path).read_text(encoding="utf-8"))
    card: dict[str, Any] = vars(info.card_data) if info.card_data is not None else {}
    licenses = [tag.removeprefix("license:") for tag in info.tags or [] if tag[:8] == "license:"]
    gguf = info.gguf if isinstance(info.gguf, dict) else None
    published = info.config if isinstance(info.config, dict) else {}
    template = (gguf or {}).get("chat_template") or published.get("chat_template_jinja")
    template = template or (published.get("tokenizer_config") or {}).get("chat_template")
    described = {
        "commit": info.sha,
        "files": files,
        "license": str(card.get("license_name") or card.get("license") or (*licenses, "")[0]),
        "config": config,
        "gguf": gguf,
        "chat_template": template if isinstance(template, str) else None,
        "parameters": info.safetensors.total if info.safetensors is not None else None,
    }
    return json.dumps(described)


def main() -> None:
    import huggingface_hub

    call, arguments = json.loads(sys.argv[1])
    try:
        function = repository if call == "repository" else getattr(huggingface_hub, call)
        print(function(**arguments))
    except Exception as error:
        sys.exit("ERROR: " + json.dumps(describe(error)))


if __name__ == "__main__":
    main()
