"""The process that renders chat templates. It imports nothing of ours.

A template is somebody else's program, out of a file that was downloaded. Jinja2's immutable sandbox
keeps it from everything but its own data; the limits of this process keep it from taking all time
and memory, which a sandbox within ours could not (``{{ 'a' * 10**10 }}``, loops within loops).

Each line of the input is a JSON object, answered by a line with ``text`` or ``error``. A template
that uses up its processor time ends the process; the next one is rendered by a new one.
"""

from __future__ import annotations

import functools
import json
import resource
import signal
import sys
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_SECONDS = 2.0
"""Processor time of one rendering."""
MAX_MEMORY_BYTES = 512 * 2**20
"""Address space of the process."""
MAX_CHARACTERS = 16 * 2**20
"""Of a rendered prompt."""


def main() -> None:
    """Render until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asked for the text ends this process
    environment = _environment()
    compiled = functools.lru_cache(maxsize=16)(environment.from_string)
    for line in sys.stdin.buffer:
        signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
        reply = _rendered(json.loads(line), compiled)
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


def _rendered(asked: dict[str, Any], compiled: Any) -> dict[str, str]:
    try:
        template = compiled(asked["template"])
        if asked["values"] is None:
            return {"text": ""}
        text = template.render(asked["values"])
    except MemoryError:
        return {"error": "it needs too much memory"}
    except Exception as error:  # it may fail in any way
        return {"error": f"{error}"[:1000] or type(error).__name__}
    if len(text) > MAX_CHARACTERS:
        return {"error": f"it writes more than {MAX_CHARACTERS} characters"}
    return {"text": text}


def _environment() -> jinja2.Environment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = _refuse
    return environment


def _refuse(reason: str) -> None:
    raise jinja2.TemplateError(reason)


if __name__ == "__main__":
    main()
