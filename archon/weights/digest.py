"""Compute SHA-256 digests of files, and of bytes while they are written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from archon.errors import ModelError
from archon.storage.atomic import replacing
from archon.weights.model_files import files_of, folder_digest
from archon.weights.progress import OnProgress, PullProgress

CHUNK_BYTES = 1 << 20


class DigestError(ModelError):
    """A digest differs from the expected one."""


def digest_of(path: Path, on_progress: OnProgress) -> str:
    """Return the SHA-256 of a file, or the combined digest of a model's files, in lowercase hex."""
    files = files_of(path)
    total_bytes, done_bytes = sum(file.stat().st_size for file in files), 0
    digests = []
    for file in files:
        sha256 = hashlib.sha256()
        with file.open("rb") as opened:
            while chunk := opened.read(CHUNK_BYTES):
                sha256.update(chunk)
                done_bytes += len(chunk)
                on_progress(PullProgress("verifying", done_bytes, total_bytes))
        digests.append((file.name, sha256.hexdigest()))
    is_one = not path.is_dir() and len(digests) == 1
    return digests[0][1] if is_one else folder_digest(digests)


def check(found: str, expected: str, what: str) -> None:
    """Check that a digest is as expected; ``what`` names the data in the error message.

    Raises
    ------
    DigestError
        The digests differ.
    """
    if found != expected:
        raise DigestError(f"{what} has the wrong SHA-256: expected {expected}, found {found}")


def write_verified(
    chunks: Iterable[bytes],
    path: Path,
    sha256: str,
    on_progress: OnProgress,
    total_bytes: int | None,
) -> None:
    """Write chunks to ``path``, which is created only if they are complete and match the digest.

    Raises
    ------
    DigestError
        The digest is wrong; no file is left behind.
    """
    running, done_bytes = hashlib.sha256(), 0
    with replacing(path) as part:
        with part.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
                running.update(chunk)
                done_bytes += len(chunk)
                on_progress(PullProgress("verifying", done_bytes, total_bytes))
        check(running.hexdigest(), sha256, path.name)
