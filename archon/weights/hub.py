"""Fetch files and folders from the Hugging Face hub into the hub client's own cache.

``HF_HOME`` and ``HF_HUB_OFFLINE`` apply. If the hub is unreachable, its client retries for up to 90
seconds, so a short request first checks whether the hub answers.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from archon.errors import ModelError, require
from archon.spec.model import HubSource
from archon.weights import download_process, hub_child
from archon.weights.digest import DigestError, check, digest_of
from archon.weights.hub_errors import Wanted, connection_reason, explain
from archon.weights.model_files import CONFIG_NAME, PATTERNS, POOLING_FILES, part_names
from archon.weights.progress import OnProgress, PullProgress

PROBE_SECONDS = 5.0

PLAIN_HTTP = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
"""Environment variables of the hub's client. They select plain HTTP transfers, which can be
resumed, and whose file sizes show the progress."""


def fetch(source: HubSource, on_progress: OnProgress, total_bytes: int | None) -> tuple[Path, bool]:
    """Fetch a file from the hub; if it is part of a split model, fetch all parts.

    Returns
    -------
    The path of the file that the source names, and whether anything was downloaded.

    Raises
    ------
    ModelError
        The hub is unreachable or does not have the file, or the download failed.
    MissingExtraError
        The hub's client is not installed.
    """
    assert source.file is not None
    hub = require("huggingface_hub", "engine")
    blobs = _blobs(source)
    names, paths, is_fresh = part_names(source.file), {}, False

    def report() -> None:
        done_bytes = max(download_process.file_sizes(blobs, "*.incomplete"), default=0)
        on_progress(PullProgress("downloading", done_bytes, total_bytes))

    for name in names:
        cached = hub.try_to_load_from_cache(source.huggingface, name, revision=source.revision)
        if isinstance(cached, str):
            paths[name] = Path(cached)
        else:
            wanted = {"filename": name, "revision": source.revision}
            paths[name] = _download("hf_hub_download", source, wanted, report)
            is_fresh = True
    return paths[source.file], is_fresh


def fetch_folder(source: HubSource, on_progress: OnProgress, total_bytes: int | None) -> Path:
    """Fetch the folder of a model from the hub and check its digest.

    Files with a different digest are kept in the hub's cache. The hub's client checks each
    download, so the digest in the card is probably wrong.

    Raises
    ------
    ModelError
        The hub is unreachable or does not have the model, or the files have a different digest.
    MissingExtraError
        The hub's client is not installed.
    """
    errors = require("huggingface_hub.errors", "engine")
    hub = require("huggingface_hub", "engine")
    wanted = {
        "revision": source.revision,
        "allow_patterns": [*PATTERNS, *POOLING_FILES],
        "ignore_patterns": ["*/*.safetensors"],  # the pattern with a star also matches subfolders
    }
    try:
        cached = hub.snapshot_download(source.huggingface, local_files_only=True, **wanted)
        # The digest of an incomplete folder is wrong.
        check(digest_of(Path(cached), on_progress), source.sha256, cached)
        return Path(cached)
    except (errors.LocalEntryNotFoundError, DigestError):
        pass
    blobs = _blobs(source)

    def report() -> None:
        done_bytes = sum(download_process.file_sizes(blobs))
        done_bytes = min(done_bytes, total_bytes or done_bytes)
        on_progress(PullProgress("downloading", done_bytes, total_bytes))

    path = _download("snapshot_download", source, wanted, report)
    if not (path / CONFIG_NAME).is_file():
        raise ModelError(f"the repository has no {CONFIG_NAME}")
    check(digest_of(path, on_progress), source.sha256, str(path))
    return path


def _blobs(source: HubSource) -> Path:
    """Return the folder in which the hub's client stores the files of a repository."""
    constants = require("huggingface_hub.constants", "engine")
    repository = "models--" + source.huggingface.replace("/", "--")
    return Path(constants.HF_HUB_CACHE) / repository / "blobs"


def _download(
    call: str, source: HubSource, wanted: dict[str, Any], report: Callable[[], None]
) -> Path:
    """Run a download function of the client in a child process; return the path that it prints."""
    constants = require("huggingface_hub.constants", "engine")
    if constants.HF_HUB_OFFLINE:
        raise ModelError(
            "HF_HUB_OFFLINE is set, and the hub's cache does not contain the model; unset the "
            "variable to download the model"
        )
    probe(constants.ENDPOINT)
    arguments = json.dumps([call, {"repo_id": source.huggingface, **wanted}])
    # -P: the child must not import the modules next to the script.
    command = [sys.executable, "-P", hub_child.__file__, arguments]
    try:
        printed = download_process.run(command, PLAIN_HTTP, report)
    except ModelError as error:
        try:
            causes = json.loads(str(error))
        except ValueError:  # the child failed before it could report causes
            raise error from None
        asked = Wanted(
            source.huggingface, constants.ENDPOINT, file=source.file, revision=source.revision
        )
        raise ModelError(explain(causes, asked)) from None
    return Path(printed.strip())


def probe(endpoint: str) -> None:
    """Check that the hub answers, with a single request.

    The request runs in a thread, because name resolution has no time limit.

    Raises
    ------
    ModelError
        The hub does not answer, or answers with a server error.
    """
    import httpx  # slow to import, and only a failed download needs it

    problem = [f"no answer from {endpoint} within {PROBE_SECONDS:.0f} seconds"]

    def ask() -> None:
        try:
            status = httpx.head(endpoint, timeout=PROBE_SECONDS).status_code
            answer = f"{endpoint} answers with status {status}; try again later"
            problem[0] = answer if status >= 500 else ""
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            problem[0] = f"{endpoint} is unreachable: {connection_reason(str(error))}"

    thread = threading.Thread(target=ask, name="archon-hub-probe", daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    if problem[0]:
        raise ModelError(problem[0])
