import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from archon.errors import LMError
from archon.lm import Ledger, Limited, ScriptedLM, close, factory
from archon.lm.base import status_of
from archon.lm.concurrency import PerLoop, run_all
from archon.lm.lazy import LazyLM
from archon.lm.scripted.lm import in_turn
from archon.spec.model import ModelCard, ScriptedCard
from archon.types import (
    Completion,
    Event,
    Message,
    ModelStatus,
    OnEvent,
    Request,
    TokenDelta,
    cost_tokens,
)

REQUEST = Request((Message("user", "three words here"),))


class Gate:
    """An LM whose calls wait until they are let through."""

    capabilities = frozenset({"chat"})

    def __init__(self) -> None:
        self.waiting = 0
        self.open = asyncio.Event()
        self.is_closed = False

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        self.waiting += 1
        try:
            await self.open.wait()
        finally:
            self.waiting -= 1
        return []

    async def aclose(self) -> None:
        self.is_closed = True


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_no_more_calls_than_the_limit_run_at_once() -> None:
    gate = Gate()
    limited = Limited(gate, 3)
    calls = [asyncio.create_task(limited.generate(REQUEST)) for _ in range(8)]
    await settle()
    assert gate.waiting == 3
    gate.open.set()
    await asyncio.gather(*calls)


async def test_cancelled_calls_give_their_places_back() -> None:
    gate = Gate()
    limited = Limited(gate, 1)
    calls = [asyncio.create_task(limited.generate(REQUEST)) for _ in range(3)]
    await settle()
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    gate.open.set()
    assert await limited.generate(REQUEST) == []


def test_a_limit_works_in_one_event_loop_after_the_other() -> None:
    limited = Limited(ScriptedLM(in_turn(["a"]), delay_seconds=1e-6), 1)

    async def crowd() -> int:
        return len(await asyncio.gather(*(limited.generate(REQUEST) for _ in range(3))))

    assert asyncio.run(crowd()) == asyncio.run(crowd()) == 3


def test_a_limit_below_1_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Limited(ScriptedLM(in_turn(["a"])), 0)


async def test_wrappers_pass_on_events_capabilities_and_closing() -> None:
    events: list[Event] = []
    inner = ScriptedLM(in_turn(["a"]), capabilities=frozenset({"stream"}))
    await Ledger(Limited(inner, 2)).generate(REQUEST, events.append)
    assert events == [TokenDelta(0, "a")]
    assert Ledger(Limited(inner, 2)).capabilities == {"stream"}
    gate = Gate()
    await close(Ledger(Limited(gate, 2)))
    assert gate.is_closed


async def test_the_ledger_counts_each_distinct_prompt_once_in_the_cost() -> None:
    ledger = Ledger(ScriptedLM(in_turn(["two words"])))
    completions = await ledger.generate(replace(REQUEST, n=2))
    completions += await ledger.generate(replace(REQUEST, first_draw=2))
    completions += await ledger.generate(replace(REQUEST, messages=(Message("user", "other"),)))
    assert ledger.usage.calls == 4
    assert ledger.usage.prompt_tokens == 3 * 3 + 1
    assert ledger.cost_tokens == 4 * 2 + 3 + 1 == cost_tokens(completions)


async def test_the_ledger_leaves_out_calls_that_fail() -> None:
    def broken(request: Request, draw: int) -> str:
        raise LMError("no")

    ledger = Ledger(ScriptedLM(broken))
    with pytest.raises(LMError):
        await ledger.generate(REQUEST)
    assert ledger.usage.calls == ledger.cost_tokens == 0


async def test_the_first_failure_cancels_the_other_calls_and_is_raised_itself() -> None:
    gate = Gate()

    async def fail() -> list[Completion]:
        await settle()
        raise LMError("no")

    with pytest.raises(LMError, match="no"):
        await run_all([gate.generate(REQUEST), fail(), gate.generate(REQUEST)])
    assert gate.waiting == 0


def test_each_event_loop_has_its_own_value() -> None:
    values = PerLoop(object)

    async def twice() -> tuple[object, object]:
        return values.get(), values.get()

    first, again = asyncio.run(twice())
    assert first is again
    assert asyncio.run(twice())[0] is not first


# -------------------------------------------------------------------------------------- status


class Busy(ScriptedLM):
    """A double that says what it is doing."""

    def status(self) -> ModelStatus:
        return ModelStatus("decoding", num_running=3)


def test_what_says_nothing_of_its_doings_is_not_asked() -> None:
    assert status_of(ScriptedLM(in_turn(["a"]))) is None
    assert status_of(Busy(in_turn(["a"]))) == ModelStatus("decoding", num_running=3)


async def test_a_lazy_model_tells_that_it_is_being_opened_and_then_what_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def open_lm(card: ModelCard, base_dir: Path | None) -> ScriptedLM:
        reached.set()
        assert go_on.wait(30)
        return Busy(in_turn(["a"]))

    monkeypatch.setattr(factory, "open_lm", open_lm)
    lazy = LazyLM(ScriptedCard(name="scripted", backend="scripted"), Path())
    assert lazy.status() is None
    call = asyncio.create_task(lazy.generate(REQUEST))
    assert await asyncio.to_thread(reached.wait, 30)
    assert lazy.status() == ModelStatus("loading")
    go_on.set()
    await call
    assert lazy.status() == ModelStatus("decoding", num_running=3)
    await lazy.aclose()
    assert lazy.status() is None
