"""The pool of samples: lookup, generation of missing samples, and waiting for other calls."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from archon.errors import LMError, RefusedError, UnsupportedError
from archon.lm.lazy import LazyLM
from archon.lm.openai.client import RemoteLM
from archon.lm.pool import DrawPool, pooling
from archon.lm.pool.pool import PoolScope
from archon.lm.sample_failures import failed_sample
from archon.lm.scripted.lm import ScriptedLM, in_turn, open_scripted
from archon.spec.model import OpenAICard, ScriptedCard
from archon.types import (
    Completion,
    Constraint,
    Event,
    FreeText,
    Hold,
    Message,
    OnEvent,
    Request,
    SamplingParams,
    TokenDelta,
    Usage,
    cost_tokens,
)

REQUEST = Request((Message("user", "What is 17 * 23?"),))
CARD = ScriptedCard(name="fake", backend="scripted")
MADE = Usage(prompt_tokens=7, cached_tokens=2, completion_tokens=3, generated_tokens=3, calls=1)
FOUND = Usage(prompt_tokens=7, cached_tokens=7, completion_tokens=3, generated_tokens=0, calls=1)


class FakeLM:
    """Replies with the sample's number, records requests, and can wait."""

    capabilities = frozenset({"chat", "stream", "logprobs"})

    def __init__(self) -> None:
        self.asked: list[range] = []
        self.gate: asyncio.Event | None = None
        self.failures: list[Exception] = []

    def draw_key(self, request: Request) -> str | None:
        return f"{request.messages[0].content}/{request.seed}"

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        draws = range(request.first_draw, request.first_draw + request.n)
        self.asked.append(draws)
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        if on_event is not None:
            for draw in draws:
                on_event(TokenDelta(draw, "te"))
                on_event(TokenDelta(draw, "xt"))
        logprobs = (-0.5, float("-inf")) if request.logprobs else None
        return [
            Completion("text", d, "stop", MADE, {"p": 7}, token_ids=(d, 1), logprobs=logprobs)
            for d in draws
        ]

    @property
    def draws(self) -> list[int]:
        """Numbers of all generated samples, with repetitions."""
        return sorted(draw for draws in self.asked for draw in draws)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "draws.sqlite3"


@pytest.fixture
def pool(path: Path) -> Iterator[DrawPool]:
    with DrawPool(path) as pool:
        yield pool
        assert len(pool.claims) == 0, "a claim was left behind"


def scope(pool: DrawPool, origin: str = "here") -> PoolScope:
    return PoolScope(pool, origin)


async def ask(
    pool: DrawPool,
    lm: FakeLM,
    first: int = 0,
    n: int = 1,
    *,
    origin: str = "here",
    on_event: OnEvent | None = None,
    **more: object,
) -> list[Completion]:
    request = replace(REQUEST, first_draw=first, n=n, **more)
    return await scope(pool, origin).generate(lm, "fake", request, on_event)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0.001)


# ---------------------------------------------------------------------- lookup and generation


async def test_a_sample_is_generated_once_and_reused_unchanged(pool: DrawPool) -> None:
    lm = FakeLM()
    made = await ask(pool, lm, n=3)
    found = await ask(pool, lm, n=3, origin="elsewhere")
    assert lm.asked == [range(3)]
    assert found == [replace(c, usage=FOUND) for c in made]


async def test_samples_persist_after_their_pool_is_closed(path: Path) -> None:
    lm = FakeLM()
    with DrawPool(path) as pool:
        made = await ask(pool, lm, n=2, logprobs=True)
    with DrawPool(path) as pool:
        found = await ask(pool, lm, n=2, logprobs=True, origin="elsewhere")
    assert [replace(c, usage=MADE) for c in found] == made
    assert lm.asked == [range(2)]


async def test_only_missing_samples_are_generated_in_contiguous_ranges(pool: DrawPool) -> None:
    lm = FakeLM()
    await ask(pool, lm, first=2, n=2)
    await ask(pool, lm, first=6, n=1)
    lm.asked.clear()
    completions = await ask(pool, lm, n=9)
    assert [c.draw for c in completions] == list(range(9))
    assert lm.asked == [range(2), range(4, 6), range(7, 9)]


async def test_another_seed_or_prompt_reuses_nothing(pool: DrawPool) -> None:
    lm = FakeLM()
    await ask(pool, lm)
    await ask(pool, lm, seed=1)
    await ask(pool, lm, messages=(Message("user", "another"),))
    assert len(lm.asked) == 3


async def test_log_probabilities_are_reused_only_if_they_were_requested(pool: DrawPool) -> None:
    lm = FakeLM()
    await ask(pool, lm)
    [with_them] = await ask(pool, lm, logprobs=True)
    assert with_them.logprobs == (-0.5, float("-inf"))
    [again] = await ask(pool, lm, logprobs=True)
    [without] = await ask(pool, lm)
    assert len(lm.asked) == 2
    assert (again.logprobs, without.logprobs) == (with_them.logprobs, None)


async def test_scored_choices_are_reused(pool: DrawPool) -> None:
    lm = open_scripted(CARD)
    request = replace(REQUEST, choices=("yes", "no"), n=2)
    made = await scope(pool).generate(lm, "fake", request, None)
    found = await scope(pool, "elsewhere").generate(lm, "fake", request, None)
    assert [c.choice_logprobs for c in found] == [c.choice_logprobs for c in made]
    assert [c.usage.choice_tokens for c in found] == [2, 2]
    assert cost_tokens(found) == cost_tokens(made)


async def test_a_reused_sample_is_sent_as_one_delta(pool: DrawPool) -> None:
    lm = FakeLM()
    await ask(pool, lm, n=2)
    events: list[Event] = []
    await ask(pool, lm, n=3, on_event=events.append)
    assert [event for event in events if event.draw < 2] == [  # type: ignore[union-attr]
        TokenDelta(0, "text"),
        TokenDelta(1, "text"),
    ]
    assert events[-2:] == [TokenDelta(2, "te"), TokenDelta(2, "xt")]


async def test_samples_of_a_model_without_keys_are_not_stored(pool: DrawPool) -> None:
    lm = ScriptedLM(in_turn(["a"]))
    for _ in range(2):
        await scope(pool).generate(lm, "app", REQUEST, None)
    assert len(lm.requests) == 2


async def test_a_closed_pool_forwards_requests(path: Path) -> None:
    pool, lm = DrawPool(path), FakeLM()
    await ask(pool, lm)
    pool.close()
    pool.close()
    assert len(await ask(pool, lm)) == 1
    assert len(lm.asked) == 2


# -------------------------------------------------------------------------------------- scope


async def test_a_pool_is_used_only_within_its_context(pool: DrawPool) -> None:
    lm = LazyLM(CARD, Path())

    async def generated() -> int:
        [completion] = await lm.generate(REQUEST)
        return completion.usage.generated_tokens

    with pooling(pool, "run/1/0"):
        assert await generated() > 0
    with pooling(pool, "run/2/0"):
        assert await asyncio.create_task(generated()) == 0
        with pooling(None, "run/2/0"):
            assert await generated() > 0
    assert await generated() > 0


async def test_a_refused_request_is_refused_with_a_pool_too(pool: DrawPool) -> None:
    lm = LazyLM(CARD, Path())
    with pooling(pool, "run/1/0"), pytest.raises(UnsupportedError, match="at least 1"):
        await lm.generate(replace(REQUEST, n=0))


async def test_a_resumed_item_counts_its_own_samples_once(path: Path) -> None:
    lm = FakeLM()
    with DrawPool(path) as pool:
        await ask(pool, lm, n=2, origin="run/1/0")
    with DrawPool(path) as pool:
        item = scope(pool, "run/1/0")
        request = replace(REQUEST, n=3)
        first = await item.generate(lm, "fake", request, None)
        second = await item.generate(lm, "fake", request, None)
    assert lm.asked == [range(2), range(2, 3)]
    assert [c.usage for c in first] == [MADE, MADE, MADE]
    assert [c.usage for c in second] == [FOUND, FOUND, FOUND]


# -------------------------------------------------------------------------------- concurrency


async def test_samples_requested_concurrently_are_generated_once(pool: DrawPool) -> None:
    lm = FakeLM()
    lm.gate = asyncio.Event()
    calls = [asyncio.create_task(ask(pool, lm, n=4, origin=str(i))) for i in range(3)]
    await settle()
    assert lm.asked == [range(4)]
    lm.gate.set()
    usages = [[c.usage for c in completions] for completions in await asyncio.gather(*calls)]
    assert usages == [[MADE] * 4, [FOUND] * 4, [FOUND] * 4]


async def test_overlapping_requests_finish_and_generate_no_sample_twice(pool: DrawPool) -> None:
    lm, rng = FakeLM(), random.Random(0)
    spans = [(rng.randrange(30), rng.randrange(1, 20)) for _ in range(60)]
    async with asyncio.timeout(20):
        answers = await asyncio.gather(*(ask(pool, lm, first, n) for first, n in spans))
    for (first, n), completions in zip(spans, answers, strict=True):
        assert [c.draw for c in completions] == list(range(first, first + n))
    assert lm.draws == sorted({d for first, n in spans for d in range(first, first + n)})


async def test_a_waiting_call_generates_the_sample_if_the_first_call_is_cancelled(
    pool: DrawPool,
) -> None:
    lm = FakeLM()
    lm.gate = asyncio.Event()
    maker, waiter = (asyncio.create_task(ask(pool, lm, n=2, origin=o)) for o in "ab")
    await settle()
    maker.cancel()
    await settle()
    assert lm.asked == [range(2), range(2)]
    lm.gate.set()
    assert [c.usage for c in await waiter] == [MADE, MADE]
    assert maker.cancelled()


async def test_a_waiting_call_generates_the_sample_if_the_first_call_fails(pool: DrawPool) -> None:
    lm = FakeLM()
    lm.failures = [LMError("first")]
    maker, waiter = (asyncio.create_task(ask(pool, lm, origin=o)) for o in "ab")
    with pytest.raises(LMError, match="first"):
        await maker
    assert [c.usage for c in await waiter] == [MADE]


async def test_a_waiting_call_fails_with_its_own_error(pool: DrawPool) -> None:
    lm = FakeLM()
    lm.failures = [LMError("first"), LMError("second")]
    calls = [asyncio.create_task(ask(pool, lm, origin=o)) for o in "ab"]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert list(map(str, results)) == ["first", "second"]


class Half(FakeLM):
    """Fails for sample 2."""

    async def generate(self, request: Request, on_event: OnEvent | None = None) -> list[Completion]:
        if request.first_draw == 2:
            raise LMError("no")
        return await super().generate(request, on_event)


async def test_a_failed_sample_does_not_affect_the_others_and_is_not_stored(pool: DrawPool) -> None:
    lm = FakeLM()
    await ask(pool, lm, first=1)
    lm.asked.clear()
    completions = await ask(pool, Half(), n=3)
    assert [c.error for c in completions] == [None, None, "no"]
    await ask(pool, lm, n=3)
    assert lm.asked == [range(2, 3)]


async def test_the_error_is_raised_if_every_sample_fails(pool: DrawPool) -> None:
    with pytest.raises(LMError, match="no"):
        await ask(pool, Half(), first=2)


async def test_a_failed_completion_in_a_reply_is_not_stored(pool: DrawPool) -> None:
    class InPlace(FakeLM):
        async def generate(
            self, request: Request, on_event: OnEvent | None = None
        ) -> list[Completion]:
            one, two = await super().generate(request, on_event)
            return [one, failed_sample(two.draw, LMError("lost"))]

    completions = await ask(pool, InPlace(), n=2)
    assert [c.error for c in completions] == [None, "lost"]
    lm = FakeLM()
    await ask(pool, lm, n=2)
    assert lm.asked == [range(1, 2)]


async def test_a_refusal_of_every_request_is_raised(
    pool: DrawPool,
) -> None:
    class Refusing(FakeLM):
        async def generate(
            self, request: Request, on_event: OnEvent | None = None
        ) -> list[Completion]:
            raise RefusedError("wrong key")

    await ask(pool, FakeLM())
    with pytest.raises(RefusedError, match="wrong key"):
        await ask(pool, Refusing(), n=2)


async def test_a_sample_whose_key_has_changed_is_not_stored(
    pool: DrawPool,
) -> None:
    class Adapting(FakeLM):
        is_adapted = False

        def draw_key(self, request: Request) -> str | None:
            return f"{super().draw_key(request)}{self.is_adapted or ''}"

        async def generate(
            self, request: Request, on_event: OnEvent | None = None
        ) -> list[Completion]:
            self.is_adapted = True
            return await super().generate(request, on_event)

    lm = Adapting()
    for _ in range(3):
        await ask(pool, lm)
    assert lm.asked == [range(1), range(1)], "the second call's sample is kept, under its own key"


async def test_waiting_may_be_cancelled(pool: DrawPool) -> None:
    lm = FakeLM()
    lm.gate = asyncio.Event()
    maker, waiter = (asyncio.create_task(ask(pool, lm)) for _ in range(2))
    await settle()
    waiter.cancel()
    await settle()
    lm.gate.set()
    assert len(await maker) == 1
    assert waiter.cancelled()
    assert lm.asked == [range(1)]


async def test_cancelling_at_any_point_leaves_no_claims(pool: DrawPool) -> None:
    lm, rng = FakeLM(), random.Random(1)
    async with asyncio.timeout(30):
        for turn in range(30):
            calls = [
                asyncio.create_task(ask(pool, lm, rng.randrange(9), rng.randrange(1, 9), seed=turn))
                for _ in range(6)
            ]
            for call in rng.sample(calls, 3):
                await asyncio.sleep(rng.random() * 0.002)
                call.cancel()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert sum(isinstance(result, list) for result in results) >= 3
            assert len(pool.claims) == 0


def test_event_loops_wait_for_each_other(pool: DrawPool) -> None:
    lm, begun, going_on = FakeLM(), threading.Event(), threading.Event()

    class Slow(FakeLM):
        async def generate(
            self, request: Request, on_event: OnEvent | None = None
        ) -> list[Completion]:
            begun.set()
            assert await asyncio.to_thread(going_on.wait, 20)
            return await super().generate(request, on_event)

    made: list[Completion] = []
    maker = threading.Thread(target=lambda: made.extend(asyncio.run(ask(pool, Slow(), n=2))))
    maker.start()
    assert begun.wait(20)

    async def wait() -> list[Completion]:
        asyncio.get_running_loop().call_later(0.05, going_on.set)
        return await ask(pool, lm, n=2, origin="elsewhere")

    found = asyncio.run(wait())
    maker.join(20)
    assert lm.asked == []
    assert [replace(c, usage=MADE) for c in found] == made


# ----------------------------------------------------------------------------------------- keys

OTHER_REQUESTS = [
    replace(REQUEST, messages=(Message("system", "What is 17 * 23?"),)),
    replace(REQUEST, messages=(*REQUEST.messages, Message("user", ""))),
    replace(REQUEST, seed=1),
    replace(REQUEST, sampling=SamplingParams(temperature=0.8)),
    replace(REQUEST, sampling=SamplingParams(top_k=40)),
    replace(REQUEST, sampling=SamplingParams(top_p=0.9)),
    replace(REQUEST, sampling=SamplingParams(min_p=0.1)),
    replace(REQUEST, sampling=SamplingParams(max_tokens=9)),
    replace(REQUEST, sampling=SamplingParams(stop=("\n",))),
    replace(REQUEST, sampling=SamplingParams(beams=2)),
    replace(REQUEST, choices=("yes", "no")),
    replace(REQUEST, choices=("no", "yes")),
    replace(REQUEST, constraint=Constraint(regex="[ab]")),
    replace(REQUEST, constraint=Constraint(order_of=("[ab]",))),
    replace(REQUEST, constraint=Constraint(regex="[ab]", after=FreeText("So:", 9))),
    replace(REQUEST, constraint=Constraint(regex="[ab]", after=FreeText("So:", 8))),
    replace(REQUEST, constraint=Constraint(json_schema={"a": {}, "b": {}})),
    replace(REQUEST, constraint=Constraint(json_schema={"b": {}, "a": {}})),
]
SAME_REQUESTS = [
    replace(REQUEST, n=5, first_draw=3),
    replace(REQUEST, hold=Hold()),
    replace(REQUEST, logprobs=True),
    replace(REQUEST, sampling=SamplingParams(temperature=0.7, top_p=1, min_p=0)),
]
REMOTE = OpenAICard(name="r", backend="openai", base_urls=["http://a/v1"], model="m")


@pytest.mark.parametrize("lm", [open_scripted(CARD), RemoteLM(REMOTE)], ids=["scripted", "remote"])
def test_the_key_depends_on_everything_a_sample_depends_on(lm: ScriptedLM | RemoteLM) -> None:
    keys = [lm.draw_key(request) for request in [REQUEST, *OTHER_REQUESTS]]
    assert len(set(keys)) == len(keys)
    assert {lm.draw_key(request) for request in SAME_REQUESTS} == {lm.draw_key(REQUEST)}


def test_the_key_depends_on_the_model() -> None:
    cards = [CARD, CARD.model_copy(update={"accuracy": 0.7}), CARD.model_copy(update={"name": "b"})]
    remotes = [
        REMOTE,
        REMOTE.model_copy(update={"model": "n"}),
        REMOTE.model_copy(update={"base_urls": ["http://b/v1"]}),
    ]
    lms = [*map(open_scripted, cards), *map(RemoteLM, remotes)]
    assert len({lm.draw_key(REQUEST) for lm in lms}) == len(lms)


def test_a_card_s_sampling_is_part_of_the_key_only_where_it_applies() -> None:
    warm = CARD.model_dump() | {"sampling": {"temperature": 0.9}}
    lm = open_scripted(ScriptedCard.model_validate(warm))
    assert lm.draw_key(REQUEST) != open_scripted(CARD).draw_key(REQUEST)
    asked = replace(REQUEST, sampling=SamplingParams(temperature=0.9))
    assert lm.draw_key(REQUEST) == lm.draw_key(asked)


def test_samples_of_one_request_with_native_n_have_no_key() -> None:
    assert RemoteLM(REMOTE.model_copy(update={"native_n": True})).draw_key(REQUEST) is None
    assert ScriptedLM(in_turn(["a"])).draw_key(REQUEST) is None
