"""The server process for the contract tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

SERVER = """
from archon.lm.scripted.heuristic import HeuristicScript
from archon.lm.scripted.lm import ScriptedLM
from archon.serve.app import create_app
from archon.serve.server import run

lm = ScriptedLM(HeuristicScript(0.6), record=False)
run(create_app({"scripted": lm}), port=0, on_ready=lambda address: print(address, flush=True))
"""


@pytest.fixture(scope="session")
def server_address() -> Iterator[str]:
    """The address of a process that serves the scripted model, such as http://127.0.0.1:4711."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address, "the server did not start"
            yield address
        finally:
            process.kill()
