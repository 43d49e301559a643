"""Hundreds of questions to a server that fails in every way: all end, and nothing is left over."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fault_server import fault_server
from faults import FAULTS, GARBLED
from oddities import ENDS, REASONING, STREAMED, WHOLE, is_about_reasoning
from oddities import PLACES as ODD_PLACES

from archon import api
from archon.errors import LMError
from archon.evals import runner
from archon.evals.folder import RunFolder
from archon.evals.records import Record
from archon.evals.run import read_run
from archon.evals.runner import Evaluation
from archon.lm.openai.client import RemoteLM
from archon.lm.pool import DrawPool
from archon.lm.retry import Backoff
from archon.spec.model import OpenAICard
from archon.types import Completion, Event, Message, Request, TokenDelta

PLACES = 64
SLACK_SECONDS = 60
"""For a busy machine; what is to be found are questions that wait for ever."""
counts_sockets = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="sockets are counted in /proc"
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with fault_server() as address:
        yield address


def card(address: str, **values: object) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "faulty",
        "backend": "openai",
        "base_urls": [f"{address}/v1"],
        "model": "m",
        "timeout_seconds": 4,
        "max_concurrency": PLACES,
        **values,
    }


def vote_of_the_best(model: dict[str, Any], seconds: float) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "vote-of-the-best",
        "models": {"solver": model},
        "nodes": {
            "draft": {"type": "generator", "model": "solver", "samples": 3},
            "best": {"type": "ranker", "model": "solver", "inputs": ["draft"], "keep": 2},
            "answer": {"type": "vote", "inputs": ["best"]},
        },
        "output": "answer",
        "budget": {"max_seconds": seconds},
    }


@dataclass(frozen=True)
class Held:
    """What a program has open."""

    tasks: int
    sockets: int
    threads: int

    @classmethod
    def now(cls) -> "Held":
        links = [str(link.readlink()) for link in _links()]
        # asyncio keeps the threads that it reads files and addresses in.
        threads = [t for t in threading.enumerate() if not t.name.startswith("asyncio_")]
        sockets = sum(link.startswith("socket:") for link in links)
        return cls(len(asyncio.all_tasks()), sockets, len(threads))


def _links() -> Iterator[Path]:
    for link in Path("/proc/self/fd").iterdir():
        if link.is_symlink():
            yield link


def assert_nothing_waits(lm: RemoteLM) -> None:
    status = lm.status()
    assert (status.num_running, status.num_waiting) == (0, 0)
    assert lm._slots.get()._value == PLACES
    assert [replica.outstanding for replica in lm._load_balancer.replicas] == [0]


def counts(address: str) -> Counter[str]:
    with httpx.Client(trust_env=False) as http:
        return Counter(http.get(f"{address}/counts").json())


def questions(count: int, data: Path) -> api.Benchmark:
    rows = [{"question": f"What is {i} + {i % 7}?", "answer": str(i + i % 7)} for i in range(1250)]
    data.write_text("\n".join(map(json.dumps, rows)))
    sums = {"version": 1, "name": "sums", "source": {"jsonl": str(data)}, "answer": "number"}
    return api.benchmark(sums, split="test", limit=count, data=data)


async def records_of(
    model: dict[str, Any], seconds: float, count: int, place: Path
) -> list[Record]:
    """Evaluate on so many questions; nothing is left of it but connections, until they close.

    All of them may fail: on a busy machine, ten in a row exceed a budget of seconds.
    """
    loader = api.Loader()
    architecture = loader.architecture(vote_of_the_best(model, seconds))
    evaluation = Evaluation.of(architecture, questions(count, place / "sums.jsonl"))
    [lm] = loader.lms
    before = Held.now()
    async with aclosing(lm):
        with DrawPool(place / "pool.sqlite3") as pool:
            folder = RunFolder.create(place / "run", "x")
            await runner.evaluate(evaluation, folder, pool=pool, max_errors=count)
        remote = lm.open()
        assert isinstance(remote, RemoteLM)
        assert_nothing_waits(remote)
        assert Held.now().sockets - before.sockets <= PLACES, "more than the next requests need"
    assert Held.now() == before
    records = [entry.record for entry in read_run(place / "run").entries()]
    assert len({record.item for record in records}) == len(records) == count
    assert max(record.seconds for record in records) < seconds + SLACK_SECONDS
    return records


@counts_sockets
async def test_every_question_ends_as_an_answer_or_as_an_error(
    address: str, tmp_path: Path
) -> None:
    records = await records_of(card(address), 20, 500, tmp_path)
    errors = [record.error for record in records if record.error is not None]
    assert 0 < len(errors) < 500
    assert all(error.startswith(("NodeError", "BudgetError")) for error in errors)


@counts_sockets
async def test_a_budget_of_seconds_cuts_off_what_a_server_never_answers(
    address: str, tmp_path: Path
) -> None:
    records = await records_of(card(address, timeout_seconds=300), 2, 100, tmp_path)
    cut_off = [r for r in records if r.limited_by == "seconds" or "seconds is used" in str(r.error)]
    assert cut_off


@counts_sockets
@pytest.mark.parametrize("streams", [False, True])
async def test_every_call_ends_and_most_faults_are_met(address: str, streams: bool) -> None:
    before, met = Held.now(), counts(address)

    async def call(lm: RemoteLM, number: int) -> str:
        request = Request((Message("user", f"What is {number} + 1?"),))
        heard: list[Event] = []
        try:
            [completion] = await lm.generate(request, heard.append if streams else None)
        except LMError as error:
            return type(error).__name__
        text = "".join(event.text for event in heard if isinstance(event, TokenDelta))
        assert not streams or text == completion.text
        assert 0 <= completion.usage.completion_tokens <= 10**9
        return "answered"

    async with aclosing(RemoteLM(OpenAICard.model_validate(card(address)))) as lm:
        ended = Counter(await asyncio.gather(*(call(lm, number) for number in range(400))))
        assert_nothing_waits(lm)
    assert Held.now() == before
    assert 0 < ended["answered"] < ended.total() == 400
    unmet = FAULTS.keys() - (counts(address) - met).keys()
    assert len(unmet) < len(FAULTS) / 4, unmet


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("name", GARBLED)
async def test_a_reply_that_is_garbled_once_costs_no_answer(
    address: str, name: str, streams: bool
) -> None:
    met = counts(address)[name]
    once = card(f"{address}/once/{name}", timeout_seconds=60)
    request = Request((Message("user", f"What is 1 + {len(name)}, {streams}?"),))
    heard: list[Event] = []
    async with aclosing(RemoteLM(OpenAICard.model_validate(once))) as lm:
        [completion] = await lm.generate(request, heard.append if streams else None)
    assert completion.text
    assert counts(address)[name] == met + 1
    text = "".join(event.text for event in heard if isinstance(event, TokenDelta))
    assert text == (completion.text if streams else "")


# ------------------------------------------------------------------------------ oddities


async def asked_oddly(
    address: str, name: str, place: str = "first", *, streams: bool
) -> tuple[Completion, list[Event]]:
    odd = card(f"{address}/odd/{name}/{place}", timeout_seconds=60)
    heard: list[Event] = []
    async with aclosing(RemoteLM(OpenAICard.model_validate(odd), backoff=Backoff(1))) as lm:
        request = Request((Message("user", "What is 12 + 30?"),))
        [completion] = await lm.generate(request, heard.append if streams else None)
    return completion, heard


def assert_as_well(
    odd: Completion, heard: list[Event], well: Completion, name: str, *, streams: bool
) -> None:
    reasoning = REASONING if is_about_reasoning(name) else ""
    assert (odd.text, odd.reasoning, odd.finish_reason) == (well.text, reasoning, "stop")
    assert odd.usage == well.usage
    if streams:
        deltas = [event for event in heard if isinstance(event, TokenDelta)]
        assert "".join(d.text for d in deltas if not d.is_reasoning) == well.text
        assert "".join(d.text for d in deltas if d.is_reasoning) == reasoning


@pytest.mark.parametrize("place", ODD_PLACES)
@pytest.mark.parametrize("name", STREAMED)
async def test_an_oddity_anywhere_in_a_stream_changes_no_text(
    address: str, name: str, place: str
) -> None:
    well, _ = await asked_oddly(address, "none", streams=True)
    odd, heard = await asked_oddly(address, name, place, streams=True)
    assert_as_well(odd, heard, well, name, streams=True)
    assert odd.notes == ()


@pytest.mark.parametrize("name", ENDS)
async def test_a_stream_that_ends_oddly_is_whole(address: str, name: str) -> None:
    well, _ = await asked_oddly(address, "none", streams=True)
    odd, heard = await asked_oddly(address, name, streams=True)
    assert_as_well(odd, heard, well, name, streams=True)
    assert bool(odd.notes) == (name == "reason_empty_to_the_end")


@pytest.mark.parametrize("name", WHOLE)
async def test_an_oddity_in_a_whole_reply_changes_no_text(address: str, name: str) -> None:
    well, _ = await asked_oddly(address, "none", streams=False)
    odd, _ = await asked_oddly(address, name, streams=False)
    assert_as_well(odd, [], well, name, streams=False)
