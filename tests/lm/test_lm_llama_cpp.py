"""``RemoteLM`` with llama-cpp-python's server, if it and a small model are installed."""

import importlib.util
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from archon.lm.openai.client import RemoteLM
from archon.spec.model import LocalCard, OpenAICard
from archon.spec.reader import load_model_card
from archon.types import Constraint, Event, Message, Request, SamplingParams, TokenDelta
from archon.weights.cache import find

REQUEST = Request(
    (Message("user", "Name one colour."),), seed=1, sampling=SamplingParams(max_tokens=4)
)
NEEDED = ("llama_cpp", "sse_starlette", "starlette_context", "pydantic_settings")
"""Packages of ``pip install 'llama-cpp-python[server]'``."""


pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    weights = _weights()
    if weights is None or any(importlib.util.find_spec(name) is None for name in NEEDED):
        pytest.skip("needs the weights of smollm2-135m and llama-cpp-python's server")
    log = tmp_path_factory.mktemp("llama") / "log"
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(weights), "--port", "0"]
    command += ["--host", "127.0.0.1", "--n_ctx", "256", "--logits_all", "true"]
    command += ["--n_threads", "1", "--n_threads_batch", "1"]
    with (
        log.open("w") as out,
        subprocess.Popen(command, stdout=out, stderr=out) as process,
    ):
        try:
            yield _address(log, process)
        finally:
            process.kill()


def _weights() -> Path | None:
    loaded = load_model_card("smollm2-135m")
    assert isinstance(loaded.spec, LocalCard)
    return find(loaded.spec, loaded.base_dir)


def _address(log: Path, process: "subprocess.Popen[bytes]") -> str:
    """The address of the server, after it has started."""
    deadline = time.monotonic() + 120
    while (found := re.search(r"running on (http://\S+)", log.read_text())) is None:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return f"{found[1]}/v1"


def remote(address: str, **values: object) -> "aclosing[RemoteLM]":
    card = {"name": "far", "backend": "openai", "base_urls": [address], "model": "smollm2"}
    return aclosing(RemoteLM(OpenAICard.model_validate(card | values)))


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
async def test_several_samples_are_separate_requests(address: str, endpoint: str) -> None:
    async with remote(address, endpoint=endpoint) as lm:
        drawn = await lm.generate(replace(REQUEST, n=2))
        assert [completion.draw for completion in drawn] == [0, 1]
        assert any(c.text and c.usage.completion_tokens > 0 for c in drawn)


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
async def test_stream_deltas_concatenate_to_the_text(address: str, endpoint: str) -> None:
    events = list[Event]()
    async with remote(address, endpoint=endpoint) as lm:
        [completion] = await lm.generate(REQUEST, events.append)
        deltas = [event.text for event in events if isinstance(event, TokenDelta)]
        assert "".join(deltas) == completion.text
        assert len(deltas) > 1


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
async def test_log_probabilities_come_with_their_tokens(address: str, endpoint: str) -> None:
    async with remote(address, endpoint=endpoint, logprobs=True) as lm:
        [completion] = await lm.generate(replace(REQUEST, logprobs=True))
        assert completion.logprobs is not None
        assert completion.tokens is not None
        assert len(completion.logprobs) == len(completion.tokens) > 1
        assert b"".join(completion.tokens).decode() == completion.text


async def test_a_schema_is_followed(address: str) -> None:
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}},
        "required": ["colour"],
    }
    async with remote(address, constraint="json_object") as lm:
        sampling = SamplingParams(max_tokens=24)
        request = replace(REQUEST, sampling=sampling, constraint=Constraint(json_schema=schema))
        [completion] = await lm.generate(request)
        assert json.loads(completion.text)["colour"] in ("red", "blue")
