"""Chat templates, rendered by a process of their own that all models share.

``template_worker.py`` tells why. The process starts with the first template, and again after one
that was too much for it.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archon.lm.local import template_worker

MAX_TEMPLATE_CHARACTERS = 2**20


class TemplateError(Exception):
    """A template cannot be compiled or rendered; the text says why."""


class _Renderer:
    """The process, as this one sees it; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ask(self, template: str, values: Mapping[str, Any] | None) -> str:
        """The rendered text; with no values the template is only compiled."""
        line = json.dumps({"template": template, "values": values}).encode() + b"\n"
        with self._lock:
            process = self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(line)
                process.stdin.flush()
                answer = process.stdout.readline()
            except BrokenPipeError:
                answer = b""
            except BaseException:  # interrupted: the next reader must not find this answer
                self._end()
                raise
            if not answer.endswith(b"\n"):
                self._end()
                seconds = f"{template_worker.MAX_SECONDS:g}"
                raise TemplateError(f"it takes more than {seconds} seconds, or all memory")
        reply = json.loads(answer)
        if "error" in reply:
            raise TemplateError(reply["error"])
        return str(reply["text"])

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._owner != os.getpid():
            self._process = None  # this process was forked; the pipes are its parent's
        if self._process is None or self._process.poll() is not None:
            self._end()
            # -I: nothing of the working folder or of PYTHONPATH is imported.
            command = [sys.executable, "-I", str(Path(template_worker.__file__))]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            self._owner = os.getpid()
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


_RENDERER = _Renderer()
atexit.register(_RENDERER.close)


class ChatTemplate:
    """A Jinja2 template of somebody else's.

    Raises
    ------
    TemplateError : it cannot be compiled.
    """

    def __init__(self, source: str) -> None:
        if len(source) > MAX_TEMPLATE_CHARACTERS:
            raise TemplateError(f"it has more than {MAX_TEMPLATE_CHARACTERS} characters")
        self._source = source
        _RENDERER.ask(source, None)

    def render(self, **values: Any) -> str:
        """The text for these values, which are plain data.

        Raises
        ------
        TemplateError : it refuses them, fails, or takes too much time or memory.
        """
        return _RENDERER.ask(self._source, values)
