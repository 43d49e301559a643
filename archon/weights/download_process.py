"""Download in a child process; file sizes show the progress, and an interrupt ends it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from archon.errors import ModelError

POLL_SECONDS = 0.2


def run(
    command: Sequence[str], extra_environment: Mapping[str, str], report: Callable[[], None]
) -> str:
    """Run a command and return its standard output.

    ``report`` is called repeatedly while the command runs. If this function is interrupted, or
    ``report`` raises an error, the child process is killed.

    Raises
    ------
    ModelError
        The command failed. The message is the last error that it printed.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
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
            raise ModelError(_last_error(_text(errors)) or f"exit status {status}")
        return _text(output)


def file_sizes(folder: Path, pattern: str = "*") -> Iterator[int]:
    """Yield the size in bytes of each file below a folder; skip files that are being deleted."""
    for path in folder.rglob(pattern):
        with suppress(FileNotFoundError):
            if path.is_file():
                yield path.stat().st_size


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _last_error(stderr: str) -> str:
    """Return the last line that begins with ``ERROR:``, or the last line if there is none."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or [""])[-1].removeprefix("ERROR:").strip()
