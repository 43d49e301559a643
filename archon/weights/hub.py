"""Files of the Hugging Face hub, kept in its own cache (``HF_HOME`` and ``HF_HUB_OFFLINE`` hold).

Left to itself the hub's client tries six times with growing pauses, half a minute to a minute and
a half where the hub is out of reach. One short request asks first whether anybody is there.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import httpx

from archon.errors import ModelError, require
from archon.spec.model import HubSource
from archon.weights import child
from archon.weights.progress import OnProgress, Progress

PROBE_SECONDS = 5.0

DOWNLOAD = """\
import sys
from huggingface_hub import hf_hub_download
try:
    print(hf_hub_download(sys.argv[1], sys.argv[2], revision=sys.argv[3]))
except Exception as error:
    reason = error.__cause__ or error
    sys.exit("ERROR: " + (str(reason).strip() or type(reason).__name__).splitlines()[0])
"""
PLAIN_HTTP = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
"""Plain transfers can be resumed and seen growing."""


def fetch(source: HubSource, on_progress: OnProgress, total_bytes: int | None) -> tuple[Path, bool]:
    """The path of a hub file, and whether it was downloaded just now.

    Raises
    ------
    ModelError : the hub is out of reach, has no such file, or the download failed.
    MissingExtraError : the hub's client is not installed.
    """
    hub = require("huggingface_hub", "engine")
    constants = require("huggingface_hub.constants", "engine")
    cached = hub.try_to_load_from_cache(source.huggingface, source.file, revision=source.revision)
    if isinstance(cached, str):
        return Path(cached), False
    if constants.HF_HUB_OFFLINE:
        raise ModelError("HF_HUB_OFFLINE is set and the file is not in its cache")
    probe(constants.ENDPOINT)

    repository = "models--" + source.huggingface.replace("/", "--")
    blobs = Path(constants.HF_HUB_CACHE) / repository / "blobs"

    def report() -> None:
        done_bytes = child.largest_file(blobs, "*.incomplete")
        on_progress(Progress("downloading", done_bytes, total_bytes))

    wanted = [source.huggingface, source.file, source.revision]
    return Path(
        child.run([sys.executable, "-c", DOWNLOAD, *wanted], PLAIN_HTTP, report).strip()
    ), True


def probe(endpoint: str) -> None:
    """Ask once whether the hub answers. A thread, because looking up a name has no time limit."""
    problem = [f"no answer from {endpoint} within {PROBE_SECONDS:.0f} seconds"]

    def ask() -> None:
        try:
            status = httpx.head(endpoint, timeout=PROBE_SECONDS).status_code
            problem[0] = f"{endpoint} answers with status {status}" if status >= 500 else ""
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            problem[0] = f"{endpoint} is out of reach: {error}"

    thread = threading.Thread(target=ask, name="archon-hub-probe", daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    if problem[0]:
        raise ModelError(problem[0])
