"""Server processes for the tests, started like a user's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai

KEY = "a-key-of-the-tests"


@dataclass(frozen=True)
class Served:
    """A running ``archon serve``."""

    process: subprocess.Popen[str]
    address: str
    log: Path

    @property
    def models(self) -> str:
        return f"{self.address}/v1"

    def client(self, **options: Any) -> openai.OpenAI:
        """Make OpenAI's own client, without retries."""
        settings = {"base_url": self.models, "api_key": KEY, "max_retries": 0} | options
        return openai.OpenAI(**settings)

    def async_client(self, **options: Any) -> openai.AsyncOpenAI:
        settings = {"base_url": self.models, "api_key": KEY, "max_retries": 0} | options
        return openai.AsyncOpenAI(**settings)

    def count(self, line: str) -> float:
        """Return the value of a metric, such as ``archon_requests_running``."""
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(trust_env=False, headers=headers) as http:
            text = http.get(f"{self.address}/metrics").raise_for_status().text
        found = [row.rpartition(" ") for row in text.splitlines() if not row.startswith("#")]
        return next((float(value) for name, _, value in found if name == line), 0.0)

    def wait_for(self, line: str, value: float) -> None:
        """Wait until a metric has a value; fail after a minute."""
        deadline = time.monotonic() + 60
        while (now := self.count(line)) != value:
            assert time.monotonic() < deadline, f"{line} is {now}, not {value}"
            time.sleep(0.02)


@contextmanager
def serving(
    *arguments: str | Path, log: Path, key: str | None = KEY, env: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """Run ``archon serve`` with these arguments while the block runs."""
    command = [sys.executable, "-m", "archon", "serve", *map(str, arguments)]
    command += ["--port", "0", "--json", *(["--api-key-env", "TEST_KEY"] if key else [])]
    # Tiny models gain nothing by threads, and wait for each other where cores are busy.
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        **({"TEST_KEY": key} if key else {}),
        **(env or {}),
    }
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, log.read_text()
            yield Served(process, json.loads(line)["address"], log)
        finally:
            process.kill()


def slow_card(path: Path, delay_seconds: float) -> Path:
    """Write the card of a scripted model that takes some time for each call."""
    card = {"name": path.stem, "backend": "scripted", "delay_seconds": delay_seconds}
    path.write_text(json.dumps(card))
    return path
