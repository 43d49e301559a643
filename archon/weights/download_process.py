"""Downloads in a child process, whose folder shows the progress, and which an interrupt ends."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from archon.errors import ModelError

POLL_SECONDS = 0.2


def run(
    command: Sequence[str], extra_environment: Mapping[str, str], report: Callable[[], None]
) -> str:
    """Run a command to its end and return its standard output; ``report`` is called meanwhile.

    Whatever ends this call early, an interrupt above all, ends the child too.

    Raises
    ------
    ModelError
        The command failed; the text is the last error it printed.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=complaints,
            env={**os.environ, **extra_environment},
        )
        try:
            while True:
                report()
                try:
                    status = process.wait(POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    continue
        except BaseException:
            process.kill()
            process.wait()
            raise
        if status != 0:
            raise ModelError(_last_error(_text(complaints)) or f"exit status {status}")
        return _text(output)


def largest_file(folder: Path, pattern: str = "*") -> int:
    """Bytes of the largest file below a folder; files may vanish while it is looked at."""
    largest = 0
    for path in folder.rglob(pattern):
        with suppress(FileNotFoundError):
            largest = max(largest, path.stat().st_size)
    return largest


def all_files(folder: Path) -> int:
    """Bytes of all files below a folder together; files may vanish while they are looked at."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _last_error(stderr: str) -> str:
    """The last line that says it is an error, else the last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or [""])[-1].removeprefix("ERROR:").strip()
