"""The engine's thread: calls from asyncio share its batches and are cancelled cleanly."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from engine_doubles import (
    RecordingEngine,
    make_request,
    num_free,
    prompt_of,
    run_all,
    tiny_decoder,
    tiny_engine,
)

from archon.engine.model.decoder import Decoder
from archon.engine.sampling.request import GenerationRequest
from archon.engine.worker import EngineWorker
from archon.errors import ContextLengthError, EngineError
from archon.types import ModelStatus


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return tiny_decoder(num_layers=1)


@pytest.fixture
def engine(decoder: Decoder) -> RecordingEngine:
    return tiny_engine(decoder)


@pytest.fixture
def worker(engine: RecordingEngine) -> Iterator[EngineWorker]:
    worker = EngineWorker(engine)
    yield worker
    worker.close()


class Gate:
    """A gate that stops the engine's thread at a request's first token until it is opened."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()

    def on_token(self, index: int, token: int) -> bool:
        self.reached.set()
        assert self.open.wait(30)
        return False

    async def arrival(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 30)


def requests_of(count: int) -> list[GenerationRequest]:
    return [make_request(prompt_of(10 + 7 * i, seed=i), draws=(0, 1)) for i in range(count)]


async def test_concurrent_calls_get_their_own_samples(
    worker: EngineWorker, decoder: Decoder
) -> None:
    requests = requests_of(8)
    expected = [run_all(tiny_engine(decoder), request)[0] for request in requests]
    found = await asyncio.gather(*(worker.generate(request) for request in requests))
    assert [[g.token_ids for g in draws] for draws in found] == [
        [g.token_ids for g in draws] for draws in expected
    ]


async def test_a_rejected_request_fails_alone(worker: EngineWorker) -> None:
    good, bad = requests_of(1)[0], make_request(prompt_of(500), max_tokens=100)
    results = await asyncio.gather(
        worker.generate(good), worker.generate(bad), worker.generate(good), return_exceptions=True
    )
    assert isinstance(results[1], ContextLengthError)
    assert isinstance(results[0], list)
    assert isinstance(results[2], list)


async def test_cancelling_a_call_frees_its_blocks(
    worker: EngineWorker, engine: RecordingEngine
) -> None:
    gate = Gate()
    long = make_request(prompt_of(40), draws=(0, 1, 2), max_tokens=400, on_token=gate.on_token)
    call = asyncio.create_task(worker.generate(long))
    await gate.arrival()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    gate.open.set()
    await worker.generate(requests_of(1)[0])
    assert num_free(engine) == engine.cache.num_blocks
    assert not engine.has_work


async def test_a_call_cancelled_before_it_is_queued_never_runs(worker: EngineWorker) -> None:
    gate = Gate()
    first = asyncio.create_task(worker.generate(make_request((1,), on_token=gate.on_token)))
    await gate.arrival()
    seen: list[int] = []
    request = make_request((2,), on_token=lambda index, token: bool(seen.append(token)))
    second = asyncio.create_task(worker.generate(request))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    gate.open.set()
    await first
    assert seen == []


async def test_many_cancelled_calls_leak_nothing(
    worker: EngineWorker, engine: RecordingEngine
) -> None:
    calls = [asyncio.create_task(worker.generate(request)) for request in requests_of(12)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(r, asyncio.CancelledError) for r in results[::2])
    assert all(isinstance(r, list) for r in results[1::2])
    await worker.generate(requests_of(1)[0])
    assert num_free(engine) == engine.cache.num_blocks


async def test_a_failing_step_fails_only_its_own_calls(
    worker: EngineWorker, engine: RecordingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> Any:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "decoder", _Failing(engine.decoder, fail))
        results = await asyncio.gather(
            *(worker.generate(request) for request in requests_of(4)), return_exceptions=True
        )
    for result in results:
        assert isinstance(result, EngineError)
        assert "RuntimeError: out of memory" in str(result)
        assert isinstance(result.__cause__, RuntimeError)
    assert len(await worker.generate(requests_of(1)[0])) == 2
    assert num_free(engine) == engine.cache.num_blocks


class _Failing:
    """A fake decoder whose steps all fail."""

    def __init__(self, decoder: Decoder, step: Any) -> None:
        self._decoder, self._step = decoder, step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._decoder, name)

    def __call__(self, *arguments: Any) -> Any:
        return self._step(*arguments)


async def test_a_failing_callback_leaks_no_block(
    worker: EngineWorker, engine: RecordingEngine
) -> None:
    def on_token(index: int, token: int) -> bool:
        raise ValueError("no such token")

    with pytest.raises(EngineError, match="no such token"):
        await worker.generate(make_request(prompt_of(20), draws=(0, 1), on_token=on_token))
    await worker.generate(requests_of(1)[0])
    assert num_free(engine) == engine.cache.num_blocks


# ------------------------------------------------------------------------------------ closing


async def test_closing_fails_pending_calls_and_rejects_new_ones(worker: EngineWorker) -> None:
    gate = Gate()
    request = make_request((1,), max_tokens=400, on_token=gate.on_token)
    call = asyncio.create_task(worker.generate(request))
    await gate.arrival()
    closing = asyncio.create_task(asyncio.to_thread(worker.close))
    gate.open.set()
    await closing
    with pytest.raises(EngineError, match="closed"):
        await call
    with pytest.raises(EngineError, match="closed"):
        await worker.generate(request)


async def test_a_call_cancelled_after_closing_is_cancelled(worker: EngineWorker) -> None:
    gate = Gate()
    call = asyncio.create_task(worker.generate(make_request((1,), on_token=gate.on_token)))
    await gate.arrival()
    closing = threading.Thread(target=worker.close)
    closing.start()
    await asyncio.to_thread(until_closed, worker)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    gate.open.set()
    await asyncio.to_thread(closing.join)


def until_closed(worker: EngineWorker) -> None:
    with worker._wake:
        assert worker._wake.wait_for(lambda: worker._closed, timeout=30)


def test_an_unused_worker_closes_immediately(engine: RecordingEngine) -> None:
    worker = EngineWorker(engine)
    worker.close()
    worker.close()


def test_closing_ends_the_thread(engine: RecordingEngine) -> None:
    before = set(threading.enumerate())  # other tests' engines may still be running
    worker = EngineWorker(engine)
    asyncio.run(worker.generate(requests_of(1)[0]))
    assert "archon-engine" in {thread.name for thread in {*threading.enumerate()} - before}
    worker.close()
    assert "archon-engine" not in {thread.name for thread in {*threading.enumerate()} - before}


# -------------------------------------------------------------------------------- event loops


def test_calls_of_several_event_loops_share_a_batch(
    worker: EngineWorker, engine: RecordingEngine, decoder: Decoder
) -> None:
    expected = [
        [g.token_ids for g in run_all(tiny_engine(decoder), request)[0]]
        for request in requests_of(4)
    ]
    found: dict[int, list[Any]] = {}

    def run_loop(which: int) -> None:
        async def ask() -> None:
            results = await asyncio.gather(*(worker.generate(r) for r in requests_of(4)))
            found[which] = [[g.token_ids for g in draws] for draws in results]

        asyncio.run(ask())

    threads = [threading.Thread(target=run_loop, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(4), expected)


def test_a_closed_event_loop_does_not_disturb_others(worker: EngineWorker) -> None:
    gate = Gate()

    async def leave() -> None:
        request = make_request((1,), max_tokens=50, on_token=gate.on_token)
        asyncio.get_running_loop().create_task(worker.generate(request))
        await gate.arrival()

    asyncio.run(leave())
    gate.open.set()
    assert len(asyncio.run(worker.generate(requests_of(1)[0]))) == 2


async def test_another_thread_can_read_the_status_during_a_step(
    worker: EngineWorker, engine: RecordingEngine
) -> None:
    assert engine.status() == ModelStatus("decoding", cache_used=0)
    gate = Gate()
    prompt = prompt_of(70)
    first = asyncio.create_task(
        worker.generate(make_request(prompt, draws=(0, 1, 2), on_token=gate.on_token))
    )
    await gate.arrival()
    begun = engine.status()
    assert begun.num_running == 3
    assert begun.num_waiting == 0
    assert begun.cache_used is not None
    assert 0 < begun.cache_used < 0.1
    assert begun.cached_prompt_share == 0
    gate.open.set()
    await first
    await worker.generate(make_request(prompt, draws=(3,), max_tokens=1))
    ended = engine.status()
    assert (ended.num_running, ended.cache_used) == (0, 0)
    assert ended.generated_tokens == 3 * 12 + 1
    assert ended.cached_prompt_share == pytest.approx(64 / 140)
