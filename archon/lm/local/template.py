"""Chat templates, rendered by a process that all models share (see ``template_worker``).

The process starts with the first template, and again after a template that exceeded its limits. It
works on every platform: where a limit is missing, one warning is logged, and the parent ends a
process that takes too long.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from archon.errors import ModelError
from archon.lm.local import template_worker
from archon.warn_once import warn_once

MAX_TEMPLATE_CHARACTERS = 2**20
MAX_WALL_SECONDS = 20.0
"""Time limit of one request where the platform cannot limit the worker's processor time."""
_LIBRARIES = ("jinja2", "markupsafe")
_OUT_OF_TIME = -signal.SIGPROF if sys.platform != "win32" else None
"""Exit code of a worker that has used up its processor time."""


class TemplateError(Exception):
    """A template cannot be compiled or rendered."""


class TemplateLimitError(TemplateError):
    """A template uses too much time or memory."""


class _WorkerProcess:
    """A rendering process, and the pipes to it.

    Raises
    ------
    ModelError
        The process does not start.
    """

    def __init__(self) -> None:
        # -I: import nothing from the working folder or PYTHONPATH.
        command = [sys.executable, "-I", template_worker.__file__, *_library_folders()]
        pipe = subprocess.PIPE
        try:
            # Unbuffered, so that a forked process has nothing to flush.
            process = subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe)
        except OSError as error:
            raise _not_started(str(error)) from None
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process, self._errors = process, process.stderr
        self._input = process.stdin
        self._output = io.BufferedReader(process.stdout)  # type: ignore[type-var]
        self._pid = os.getpid()
        self._is_out_of_time = False
        greeting = self._output.readline()
        if not greeting.endswith(b"\n"):
            reason = self._errors.read().decode(errors="replace").strip()
            self.end()
            raise _not_started(
                reason.splitlines()[-1] if reason else "it exited without an error message"
            )
        self._missing: list[str] = json.loads(greeting)["missing"]
        for limit in self._missing:
            warn_once(f"chat templates are rendered without a limit on {limit}, "
                      "which this platform does not offer")  # fmt: skip

    @property
    def is_usable(self) -> bool:
        """True if the process runs and is a child of this process, not of one that forked it."""
        return self._pid == os.getpid() and self._process.poll() is None

    def ask(self, line: bytes) -> bytes:
        """Return the answer to one line. If it has no line end, the process ended instead."""
        try:
            with self._timed():
                rest = memoryview(line)
                while rest:
                    rest = rest[self._input.write(rest) :]
                return self._output.readline()
        except OSError:  # the other end of the pipe is closed
            return b""

    def end(self) -> bool:
        """End the process; return True if a time limit has ended it."""
        if self._pid == os.getpid():
            self._process.kill()
            self._process.wait()
        else:
            # It is the parent's child, and the parent waits for it.
            self._process.returncode = 0
        for file in (self._input, self._output, self._errors):
            with contextlib.suppress(OSError):
                file.close()
        return self._is_out_of_time or self._process.returncode == _OUT_OF_TIME

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        if template_worker.TIME not in self._missing:
            yield
            return
        timer = threading.Timer(MAX_WALL_SECONDS, self._time_out)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _time_out(self) -> None:
        self._is_out_of_time = True
        self._process.kill()


class _Renderer:
    """Client of the rendering process; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: _WorkerProcess | None = None

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the worker's answer to a request (see ``template_worker``)."""
        line = json.dumps(request).encode() + b"\n"
        with self._lock:
            is_new = self._worker is None or not self._worker.is_usable
            answer = self._answer(line)
            if answer is None and not is_new:
                # It may have been killed before it read this request.
                answer = self._answer(line)
        if answer is None:
            raise TemplateLimitError(
                "the process that renders it ended, probably because it ran out of memory"
            )
        reply: dict[str, Any] = json.loads(answer)
        if "error" in reply:
            raise TemplateError(reply["error"])
        return reply

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def forget(self) -> None:
        """Abandon the parent's process and lock in a forked child."""
        self._lock = threading.Lock()
        self._end()

    def _answer(self, line: bytes) -> bytes | None:
        """Return the answer; None if the process ended instead."""
        if self._worker is not None and not self._worker.is_usable:
            self._end()
        if self._worker is None:
            self._worker = _WorkerProcess()
        try:
            answer = self._worker.ask(line)
        except BaseException:  # interrupted: the next reader must not get this answer
            self._end()
            raise
        if answer.endswith(b"\n"):
            return answer
        if self._end():
            seconds = f"{template_worker.MAX_SECONDS:g}"
            raise TemplateLimitError(f"it takes more than {seconds} seconds")
        return None

    def _end(self) -> bool:
        worker, self._worker = self._worker, None
        return worker is not None and worker.end()


_RENDERER = _Renderer()
atexit.register(_RENDERER.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_RENDERER.forget)


class ChatTemplate:
    """An untrusted Jinja2 template.

    Raises
    ------
    TemplateError
        It cannot be compiled.
    ModelError
        The process that renders templates does not start.
    """

    def __init__(self, source: str) -> None:
        if len(source) > MAX_TEMPLATE_CHARACTERS:
            raise TemplateError(f"it has more than {MAX_TEMPLATE_CHARACTERS} characters")
        self.source = source
        found = _RENDERER.ask({"template": source})
        self.literals: list[str] = found["literals"]
        """Strings that it may search for in messages."""
        self.sought: list[str] = found["sought"]
        """Strings that it certainly searches for, with ``in`` or a method such as ``split``."""

    def render_all(self, values: Sequence[Mapping[str, Any]]) -> list[str | None]:
        """Render the template with several sets of plain data, in one call of the process.

        The text of a set after the first that the template refuses is None.

        Raises
        ------
        TemplateError
            It refuses or fails for the first set, or uses too much time or memory.
        """
        request = {"template": self.source, "values": values}
        texts: list[str | None] = _RENDERER.ask(request)["texts"]
        return texts


def _library_folders() -> list[str]:
    """Return the folders of the libraries that the worker needs."""
    origins = [spec.origin for name in _LIBRARIES if (spec := find_spec(name)) is not None]
    return list(dict.fromkeys(str(Path(origin).parents[1]) for origin in origins if origin))


def _not_started(reason: str) -> ModelError:
    return ModelError(f"the process that renders chat templates did not start: {reason}")
