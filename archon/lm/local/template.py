"""Chat templates, rendered by a process that all models share (see ``template_worker``).

The process is started for the first template, and restarted after a template exceeds its limits. If
the platform does not support a limit, a warning is logged. If the platform cannot limit processor
time, the parent ends a process that takes too long.
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
"""Time limit of one request if the platform cannot limit the worker's processor time."""
_LIBRARIES = ("jinja2", "markupsafe")
_OUT_OF_TIME = -signal.SIGPROF if sys.platform != "win32" else None
"""Exit code of a worker that exceeded its limit on processor time."""


class TemplateError(Exception):
    """A template cannot be compiled or rendered, or it rejects its input."""


class TemplateLimitError(TemplateError):
    """A template needs too much time or memory."""


class _WorkerProcess:
    """A process that renders templates, and the pipes to it.

    Raises
    ------
    ModelError
        The process cannot be started.
    """

    def __init__(self) -> None:
        # -I: import nothing from the working folder or PYTHONPATH.
        command = [sys.executable, "-I", template_worker.__file__, *_library_folders()]
        pipe = subprocess.PIPE
        try:
            # Without buffers, so that a forked child cannot write a copy of buffered data.
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
                reason.splitlines()[-1] if reason else "the process exited without an error message"
            )
        self._missing: list[str] = json.loads(greeting)["missing"]
        for limit in self._missing:
            warn_once(f"chat templates are rendered without a limit on {limit}, because this "
            f"platform does not support one")  # fmt: skip

    @property
    def is_usable(self) -> bool:
        """True if the worker is running and was started by this process, not by its parent."""
        return self._pid == os.getpid() and self._process.poll() is None

    def ask(self, line: bytes) -> bytes:
        """Send a line, and return the process's answer, which is also a line.

        If the process ends before it answers, the returned text is incomplete and has no line end.
        """
        try:
            with self._timed():
                rest = memoryview(line)
                while rest:
                    rest = rest[self._input.write(rest) :]
                return self._output.readline()
        except OSError:  # the other end of the pipe is closed
            return b""

    def end(self) -> bool:
        """End the process; return True if a time limit had already ended it."""
        if self._pid == os.getpid():
            self._process.kill()
            self._process.wait()
        else:
            # The process is a child of this process's parent, which waits for it.
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
    """Thread-safe client of the process that renders templates."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: _WorkerProcess | None = None

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request to the process and return its answer (see ``template_worker``).

        Raises
        ------
        TemplateError
            The answer is an error, or the template exceeded its limits.
        ModelError
            The process cannot be started.
        """
        line = json.dumps(request).encode() + b"\n"
        with self._lock:
            is_new = self._worker is None or not self._worker.is_usable
            answer = self._answer(line)
            if answer is None and not is_new:
                # It may have been killed before it read this request.
                answer = self._answer(line)
        if answer is None:
            raise TemplateLimitError(
                "the process that renders the template ended, probably because it ran out of memory"
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
        """Abandon the parent's process and lock, in a forked child process."""
        self._lock = threading.Lock()
        self._end()

    def _answer(self, line: bytes) -> bytes | None:
        """Return the answer to a line, or None if the process ended for an unknown reason."""
        if self._worker is not None and not self._worker.is_usable:
            self._end()
        if self._worker is None:
            self._worker = _WorkerProcess()
        try:
            answer = self._worker.ask(line)
        except BaseException:  # after an interruption, the next request must not get this answer
            self._end()
            raise
        if answer.endswith(b"\n"):
            return answer
        if self._end():
            seconds = f"{template_worker.MAX_SECONDS:g}"
            raise TemplateLimitError(f"rendering takes more than {seconds} seconds")
        return None

    def _end(self) -> bool:
        worker, self._worker = self._worker, None
        return worker is not None and worker.end()


_RENDERER = _Renderer()
atexit.register(_RENDERER.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_RENDERER.forget)


class ChatTemplate:
    """A Jinja2 template from an untrusted file, compiled and rendered in a separate process.

    Raises
    ------
    TemplateError
        The template cannot be compiled.
    ModelError
        The process that renders templates cannot be started.
    """

    def __init__(self, source: str) -> None:
        if len(source) > MAX_TEMPLATE_CHARACTERS:
            raise TemplateError(f"the template has more than {MAX_TEMPLATE_CHARACTERS} characters")
        self.source = source
        found = _RENDERER.ask({"template": source})
        self.literals: list[str] = found["literals"]
        """Strings that the template may search for in messages."""
        self.sought: list[str] = found["sought"]
        """Strings that the template certainly searches for, by ``in`` or methods such as ``split``.
        """
        self.variables: frozenset[str] = frozenset(found["variables"])
        """Names of the template's input variables."""

    def render_all(self, values: Sequence[Mapping[str, Any]]) -> list[str | None]:
        """Render the template once for each set of values, in one call of the process.

        Returns
        -------
        One text per set of values. If rendering fails for any set but the first, its text is None.

        Raises
        ------
        TemplateError
            Rendering fails for the first set, or needs too much time or memory.
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
