"""Runs the measured server and its clients, each in a separate process."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from archon.bench.child_process import ChildError, ChildProcess
from archon.bench.serve.client import Answers, Load
from archon.bench.serve.questions import Ask
from archon.errors import ArchonError

NAME = "bench"
"""Name of the served architecture."""
_MEMORY_EVERY_SECONDS = 60


def architecture(sampling: dict[str, Any]) -> dict[str, Any]:
    """Return an architecture with one node, which sends the question to the model unchanged."""
    node = {
        "type": "generator",
        "model": "solver",
        "prompt": {"text": "{question}"},
        "sampling": sampling,
    }
    return {
        "version": 1,
        "name": NAME,
        "models": {"solver": "scripted"},
        "nodes": {"answer": node},
        "output": "answer",
    }


class MeasuredServer:
    """A running ``archon serve`` and its memory over time."""

    def __init__(self, process: ChildProcess, address: str) -> None:
        parts = urlsplit(address)
        assert parts.hostname is not None
        assert parts.port is not None
        self._host, self._port = parts.hostname, parts.port
        self._process, self._start = process, monotonic()
        self.memory: list[dict[str, float]] = []
        """``{"seconds", "bytes"}`` per minute; empty if the system does not report memory."""
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def load(
        self, asks: Sequence[Ask], *, num_clients: int, seconds: float, streams: bool, keep: int = 0
    ) -> Answers:
        """Run the clients in another process; keep the texts of the first ``keep`` answers.

        Raises
        ------
        ChildError
            The clients' process failed.
        """
        pairs = [(ask.question, ask.seed) for ask in asks]
        load = Load(self._host, self._port, NAME, num_clients, seconds, streams, pairs)
        cpu_start = self._cpu_seconds()
        with ChildProcess(["-m", "archon.bench.serve.client"]) as clients:
            answers = Answers(**clients.ask({**asdict(load), "keep_texts": keep}))
        if cpu_start is not None and (cpu_end := self._cpu_seconds()) is not None:
            answers.model_cpu_seconds = cpu_end - cpu_start
        answers.texts = {int(number): text for number, text in answers.texts.items()}
        return answers

    def _cpu_seconds(self) -> float | None:
        """Return the server's CPU time so far; None if the system does not report it."""
        try:
            stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        except OSError:
            return None
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def note_memory(self) -> None:
        """Record the server's current memory."""
        try:
            pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        except OSError:
            return
        num_bytes = int(pages) * os.sysconf("SC_PAGE_SIZE")
        seconds = round(monotonic() - self._start, 1)
        self.memory.append({"seconds": seconds, "bytes": num_bytes})

    def stop_watching(self) -> None:
        """Stop the regular recording of the memory."""
        self._ended.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._ended.wait(_MEMORY_EVERY_SECONDS):
            self.note_memory()


@contextmanager
def serving(model: str, sampling: dict[str, Any], num_clients: int) -> Iterator[MeasuredServer]:
    """Run ``archon serve`` with a one-node architecture of a model while the block runs.

    Raises
    ------
    ArchonError
        The server did not start.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{NAME}.json"
        file.write_text(json.dumps(architecture(sampling)), encoding="utf-8")
        command = ["-m", "archon", "serve", str(file), "--port", "0", "--json"]
        command += ["--model", f"solver={model}", "--max-running", str(num_clients)]
        with ChildProcess(command) as process:
            try:
                address = process.receive()["address"]
            except ChildError as error:
                raise ArchonError(f"the server did not start: {error}") from None
            server = MeasuredServer(process, address)
            try:
                yield server
            finally:
                server.stop_watching()
