"""Fetch files and folders from the Hugging Face hub into the hub client's own cache.

``HF_HOME``, ``HF_TOKEN``, ``HF_ENDPOINT`` and ``HF_HUB_OFFLINE`` apply. If the hub is unreachable,
its client retries for up to 90 seconds, so one short request checks the connection first.

A source with a digest is exact. Without one, the digest of the first download counts
(``archon.weights.hub_records``).
"""

from __future__ import annotations

import fnmatch
import json
import sys
import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from archon.errors import ModelError, require
from archon.spec.model import HubSource
from archon.weights import download_process, hub_child
from archon.weights.digest import DigestError, check, digest_of
from archon.weights.hub_errors import Wanted, connection_reason, explain
from archon.weights.hub_records import HubRecord, recorded, today, write_hub_record
from archon.weights.hub_repository import Repository, model_file
from archon.weights.model_files import (
    CONFIG_NAME,
    INDEX_NAME,
    PATTERNS,
    POOLING_FILES,
    TOKENIZER_FILES,
    files_of,
    is_complete_folder,
    num_bytes_of,
    part_names,
)
from archon.weights.progress import OnProgress, PullProgress

PROBE_SECONDS = 5.0

PLAIN_HTTP = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
"""Environment variables of the hub's client. They select plain HTTP transfers, which can be
resumed, and whose file sizes show the progress."""


def fetch(source: HubSource, on_progress: OnProgress, total_bytes: int | None) -> tuple[Path, str]:
    """Return the file or folder of a source, downloaded if needed, and its verified digest.

    Raises
    ------
    ModelError
        The hub is unreachable or has no such model, or its files have another digest than the
        source states or than they had at the first download.
    MissingExtraError
        The hub's client is not installed.
    """
    require("huggingface_hub", "engine")
    if source.sha256 is None:
        return _fetch_unpinned(source, on_progress, total_bytes)
    if source.file is None:
        path = fetch_folder(source, on_progress, total_bytes)
        return path, source.sha256
    if not source.file.lower().endswith(".gguf") and _cached_file(source, source.file) is None:
        source = source.model_copy(update={"file": ask(source).model_file(source.file)})
    return _fetch_pinned_file(source, on_progress, total_bytes), str(source.sha256)


def _fetch_pinned_file(source: HubSource, on_progress: OnProgress, total_bytes: int | None) -> Path:
    path, is_fresh = fetch_file(source, on_progress, total_bytes)
    try:
        check(digest_of(path, on_progress), str(source.sha256), str(path))
    except DigestError:
        if is_fresh:
            _delete(path)
        raise
    return path


def _delete(path: Path) -> None:
    """Delete a downloaded file or all parts; the hub's cache consists of links to blobs."""
    parts = files_of(path)
    for file in {*parts, *(part.resolve() for part in parts)}:
        file.unlink()


# ---------------------------------------------------------------------------- without a digest


def _fetch_unpinned(
    source: HubSource, on_progress: OnProgress, total_bytes: int | None
) -> tuple[Path, str]:
    """Fetch a model whose digest is that of its first download."""
    record = recorded(source)
    path, license = None, ""
    if record is not None:
        path, license = _present_record(source, record), record.license
    if path is None:
        try:
            repository = ask(source)
        except ModelError:
            # Another program may have downloaded it. The choice is then made among its files here.
            path = _present_choice(source) if record is None else None
            if path is None:
                raise
        else:
            license = repository.license
            path = _download_choice(source, record, repository, on_progress, total_bytes)
    digest = digest_of(path, on_progress)
    commit = _commit_of(path, source.revision)
    if record is not None and digest != record.sha256:
        raise DigestError(_change(source, record, commit, digest, path))
    file = None if path.is_dir() else _name_in_repository(path)
    is_same = record is not None and (record.commit, record.path) == (commit, str(path))
    if not is_same:
        first = HubRecord(
            repository=source.huggingface,
            wanted=source.file,
            revision=source.revision,
            commit=commit,
            file=file,
            sha256=digest,
            bytes=num_bytes_of(path),
            path=str(path),
            license=license,
            date=today() if record is None else record.date,
        )
        write_hub_record(source, first)
    return path, digest


def present(source: HubSource) -> Path | None:
    """Return the file or folder of a source in the hub's cache; None if it is not there.

    Another program may have downloaded it. Nothing is verified.

    Raises
    ------
    MissingExtraError
        The hub's client is not installed.
    """
    require("huggingface_hub", "engine")
    record = recorded(source)
    found = None if record is None else _present_record(source, record)
    return found or _present_choice(source)


def _present_record(source: HubSource, record: HubRecord) -> Path | None:
    """Return a recorded model if the hub's cache has it."""
    source = source.model_copy(update={"revision": record.commit})
    if record.file is not None:
        return _cached_file(source, record.file)
    folder = _snapshot(source)
    return folder if folder is not None and is_complete_folder(folder) else None


def _present_choice(source: HubSource) -> Path | None:
    """Return the file or folder in the hub's cache that fits a source."""
    folder = _snapshot(source)
    if folder is None:
        return None
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    try:
        name = model_file(names, source.file)
    except ModelError:
        return None
    if name is not None:
        return _cached_file(source, name)
    return folder if is_complete_folder(folder) else None


def _download_choice(
    source: HubSource,
    record: HubRecord | None,
    repository: Repository,
    on_progress: OnProgress,
    total_bytes: int | None,
) -> Path:
    """Download the model of a repository that the source wants."""
    name = repository.model_file(source.file)
    if name is None:
        return _download_folder(source, repository, on_progress, total_bytes)
    stated = repository.files[name].sha256 if len(part_names(name)) == 1 else None
    if record is not None and stated is not None and stated != record.sha256:
        raise DigestError(_change(source, record, repository.commit, stated))
    newest = source.model_copy(update={"file": name, "revision": repository.commit})
    path = _cached_file(newest, name)
    if path is not None:
        return path
    size = repository.num_bytes(part_names(name)) or total_bytes
    path = _download_file(source.model_copy(update={"file": name}), on_progress, size)
    if stated is not None:
        try:
            check(digest_of(path, on_progress), stated, str(path))
        except DigestError:
            _delete(path)
            raise
    return path


def _download_folder(
    source: HubSource,
    repository: Repository,
    on_progress: OnProgress,
    total_bytes: int | None,
) -> Path:
    """Download the model folder of a repository, without a second copy of its weights."""
    if CONFIG_NAME not in repository.files:
        raise ModelError(f"the repository has no {CONFIG_NAME} and no GGUF file")
    if not any(name.endswith(".safetensors") for name in repository.files):
        raise ModelError("the repository has no safetensors; other formats of weights are unsafe")
    patterns = [*PATTERNS, *POOLING_FILES, *TOKENIZER_FILES]
    if {INDEX_NAME, "model.safetensors"} & repository.files.keys():
        # Some repositories also have the same weights in another layout.
        patterns[patterns.index("*.safetensors")] = "model*.safetensors"
    wanted = [name for name in repository.files if _matches(name, patterns)]
    total_bytes = repository.num_bytes(wanted) or total_bytes
    path = _download_snapshot(source, patterns, on_progress, total_bytes)
    if not is_complete_folder(path):
        raise ModelError(f"the downloaded folder {path} lacks weights or a tokenizer")
    return path


def _matches(name: str, patterns: Collection[str]) -> bool:
    return "/" not in name and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _change(
    source: HubSource, record: HubRecord, commit: str, digest: str, path: Path | None = None
) -> str:
    """Describe how a model differs from its first download, and the choices of the user."""
    first = f"digest {record.sha256} at the first download ({record.date}"
    accept = f"to accept it, run `archon models rm hf:{record.name}` and pull again"
    if commit == record.commit:
        keep = f"to restore the old files, delete {path} and pull again"
        return f"the files changed: {first}), now {digest}; {keep}; {accept}"
    pinned = replace(record, revision=record.commit).name
    keep = f"to keep the old files, use hf:{pinned}"
    return (
        f"revision {source.revision!r} changed: {first}, commit {record.commit}), now {digest} "
        f"(commit {commit}); {keep}; {accept}"
    )


def _commit_of(path: Path, revision: str) -> str:
    """Return the commit of a path in the hub's cache, ``…/snapshots/<commit>/…``."""
    parts = path.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts else revision


def _name_in_repository(path: Path) -> str:
    parts = path.parts
    return "/".join(parts[parts.index("snapshots") + 2 :]) if "snapshots" in parts else path.name


# -------------------------------------------------------------------------- the hub's own cache


def _cached_file(source: HubSource, file: str) -> Path | None:
    """Return a file of the hub's cache, if all parts of the model are there."""
    hub = require("huggingface_hub", "engine")
    paths = {}
    for name in part_names(file):
        cached = hub.try_to_load_from_cache(source.huggingface, name, revision=source.revision)
        if not isinstance(cached, str):
            return None
        paths[name] = Path(cached)
    return paths[file]


def _snapshot(source: HubSource) -> Path | None:
    """Return the folder of a revision in the hub's cache, which may be incomplete."""
    folder = _repository_folder(source)
    try:
        commit = (folder / "refs" / source.revision).read_text(encoding="utf-8").strip()
    except OSError:
        commit = source.revision
    path = folder / "snapshots" / commit
    return path if path.is_dir() else None


def fetch_file(
    source: HubSource, on_progress: OnProgress, total_bytes: int | None
) -> tuple[Path, bool]:
    """Fetch a hub file; of a split model, all parts.

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
    cached = _cached_file(source, source.file)
    if cached is not None:
        return cached, False
    return _download_file(source, on_progress, total_bytes), True


def _download_file(source: HubSource, on_progress: OnProgress, total_bytes: int | None) -> Path:
    """Download a hub file; of a split model, all parts. The client keeps parts that are current."""
    assert source.file is not None
    blobs = _blobs(source)
    paths = {}

    def report() -> None:
        done_bytes = max(download_process.file_sizes(blobs, "*.incomplete"), default=0)
        on_progress(PullProgress("downloading", done_bytes, total_bytes))

    for name in part_names(source.file):
        wanted = {"filename": name, "revision": source.revision}
        paths[name] = _download("hf_hub_download", source, wanted, report)
    return paths[source.file]


def fetch_folder(source: HubSource, on_progress: OnProgress, total_bytes: int | None) -> Path:
    """Fetch a hub model's folder, complete and with the digest of the source.

    Files with a different digest are kept in the hub's cache. The hub's client checks each
    download, so the digest in the card is probably wrong.

    Raises
    ------
    ModelError
        The hub is unreachable or does not have the model, or the files have a different digest.
    MissingExtraError
        The hub's client is not installed.
    """
    sha256 = str(source.sha256)
    cached = _snapshot(source)
    # The digest shows whether the cached folder is complete.
    if cached is not None and digest_of(cached, on_progress) == sha256:
        return cached
    path = _download_snapshot(source, [*PATTERNS, *POOLING_FILES], on_progress, total_bytes)
    if not (path / CONFIG_NAME).is_file():
        raise ModelError(f"the repository has no {CONFIG_NAME}")
    check(digest_of(path, on_progress), sha256, str(path))
    return path


def _download_snapshot(
    source: HubSource,
    patterns: Collection[str],
    on_progress: OnProgress,
    total_bytes: int | None,
) -> Path:
    wanted = {
        "revision": source.revision,
        "allow_patterns": list(patterns),
        "ignore_patterns": ["*/*.safetensors"],  # the pattern with a star also matches subfolders
    }
    blobs = _blobs(source)

    def report() -> None:
        done_bytes = sum(download_process.file_sizes(blobs))
        done_bytes = min(done_bytes, total_bytes or done_bytes)
        on_progress(PullProgress("downloading", done_bytes, total_bytes))

    return _download("snapshot_download", source, wanted, report)


def _blobs(source: HubSource) -> Path:
    """Return the folder in which the hub's client stores the files of a repository."""
    return _repository_folder(source) / "blobs"


def _repository_folder(source: HubSource) -> Path:
    """Return the folder of a repository in the hub's cache."""
    constants = require("huggingface_hub.constants", "engine")
    repository = "models--" + source.huggingface.replace("/", "--")
    return Path(constants.HF_HUB_CACHE) / repository


# ------------------------------------------------------------------------------- the hub itself


def ask(source: HubSource, *, with_config: bool = False) -> Repository:
    """Ask the hub for a description of a source's repository; download no weights.

    Parameters
    ----------
    with_config
        Include the contents of ``config.json``.

    Raises
    ------
    ModelError
        The hub is unreachable or has no such repository.
    """
    arguments = {"revision": source.revision, "with_config": with_config}
    return Repository.of(json.loads(_call("repository", source, arguments, lambda: None)))


def _download(
    call: str, source: HubSource, wanted: dict[str, Any], report: Callable[[], None]
) -> Path:
    """Run a download function of the client in a child process; return the path that it prints."""
    return Path(_call(call, source, wanted, report).strip())


def _call(call: str, source: HubSource, wanted: dict[str, Any], report: Callable[[], None]) -> str:
    """Run a function of ``hub_child`` or of the client in a child process; return its output."""
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
        return download_process.run(command, PLAIN_HTTP, report)
    except ModelError as error:
        try:
            causes = json.loads(str(error))
        except ValueError:  # the child failed before it could report causes
            raise error from None
        asked = Wanted(
            source.huggingface, constants.ENDPOINT, file=source.file, revision=source.revision
        )
        raise ModelError(explain(causes, asked)) from None


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
