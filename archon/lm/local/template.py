"""Chat templates, rendered by a process of their own that all models share.

``template_worker.py`` says why. The process starts with the first template, and again after one
that was too much for it. It needs nothing that only Unix has: where the platform offers a limit
less, a warning says so once, and the parent's clock ends a process that takes too long.
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
"""Of one request where the platform cannot limit the worker's processor time."""
_LIBRARIES = ("jinja2", "markupsafe")
_OUT_OF_TIME = -signal.SIGPROF if sys.platform != "win32" else None
"""Exit code of a worker whose processor time is used up."""


class TemplateError(Exception):
    """A template cannot be compiled or rendered; the text says why."""


class TemplateLimitError(TemplateError):
    """A template takes too much time or memory."""


class _Worker:
    """One process that renders, and the pipes to it.

    Raises
    ------
    ModelError : the process does not start.
    """

    def __init__(self) -> None:
        # -I: nothing of the working folder or of PYTHONPATH is imported.
        command = [sys.executable, "-I", template_worker.__file__, *_library_folders()]
        pipe = subprocess.PIPE
        try:
            # Without buffers of ours, a forked process has nothing of them to write.
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
            raise _not_started(reason.splitlines()[-1] if reason else "it ends without a word")
        self._missing: list[str] = json.loads(greeting)["missing"]
        for limit in self._missing:
            warn_once(f"chat templates are rendered without a limit on {limit}, "
                      "which this platform does not offer")  # fmt: skip

    @property
    def is_usable(self) -> bool:
        """The process runs, and belongs to this process and not to one that it was forked from."""
        return self._pid == os.getpid() and self._process.poll() is None

    def ask(self, line: bytes) -> bytes:
        """The answer to one line; without an end of line if the process ended instead."""
        try:
            with self._timed():
                rest = memoryview(line)
                while rest:
                    rest = rest[self._input.write(rest) :]
                return self._output.readline()
        except OSError:  # the other end of the pipe is closed
            return b""

    def end(self) -> bool:
        """End the process; whether the limit on time had ended it before."""
        if self._pid == os.getpid():
            self._process.kill()
            self._process.wait()
        else:
            # It is the parent's, who waits for it.
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
    """The process, as this one sees it; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: _Worker | None = None

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The worker's answer to a request (``template_worker.py``)."""
        line = json.dumps(request).encode() + b"\n"
        with self._lock:
            is_new = self._worker is None or not self._worker.is_usable
            answer = self._answer(line)
            if answer is None and not is_new:
                # It may have ended before it saw this request, as a process does that is killed.
                answer = self._answer(line)
        if answer is None:
            raise TemplateLimitError("the process that renders it ended, as if memory ran out")
        reply: dict[str, Any] = json.loads(answer)
        if "error" in reply:
            raise TemplateError(reply["error"])
        return reply

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def forget(self) -> None:
        """Leave process and lock to the parent that this process was forked from."""
        self._lock = threading.Lock()
        self._end()

    def _answer(self, line: bytes) -> bytes | None:
        """None if the process ended instead of answering."""
        if self._worker is not None and not self._worker.is_usable:
            self._end()
        if self._worker is None:
            self._worker = _Worker()
        try:
            answer = self._worker.ask(line)
        except BaseException:  # interrupted: the next reader must not find this answer
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
    """A Jinja2 template of somebody else's.

    Raises
    ------
    TemplateError : it cannot be compiled.
    ModelError : the process that renders templates does not start.
    """

    def __init__(self, source: str) -> None:
        if len(source) > MAX_TEMPLATE_CHARACTERS:
            raise TemplateError(f"it has more than {MAX_TEMPLATE_CHARACTERS} characters")
        self.source = source
        found = _RENDERER.ask({"template": source})
        self.literals: list[str] = found["literals"]
        """The strings that it may look for in messages."""
        self.sought: list[str] = found["sought"]
        """Those among them that it surely looks for, by ``in`` or a method such as ``split``."""

    def render(self, **values: Any) -> str:
        """The text for these values, which are plain data.

        Raises
        ------
        TemplateError : it refuses them, fails, or takes too much time or memory.
        """
        text = self.render_all([values])[0]
        assert text is not None
        return text

    def render_all(self, values: Sequence[Mapping[str, Any]]) -> list[str | None]:
        """The text for each of several sets of values, in one call of the process.

        None stands for the text of a set other than the first that the template refuses.

        Raises
        ------
        TemplateError : it refuses the first set, or takes too much time or memory.
        """
        request = {"template": self.source, "values": values}
        texts: list[str | None] = _RENDERER.ask(request)["texts"]
        return texts


def _library_folders() -> list[str]:
    """Where this process has the libraries from that the worker needs."""
    origins = [spec.origin for name in _LIBRARIES if (spec := find_spec(name)) is not None]
    return list(dict.fromkeys(str(Path(origin).parents[1]) for origin in origins if origin))


def _not_started(reason: str) -> ModelError:
    return ModelError(f"the process that renders chat templates does not start: {reason}")
