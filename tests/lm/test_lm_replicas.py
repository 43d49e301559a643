"""Replicas: the least busy of those that are well is asked, and a dead one loses nothing."""

import asyncio
from collections import Counter
from dataclasses import replace

import httpx
import pytest
from test_lm_remote import REQUEST, Server, Waits, Wire, delta, good, remote, sse

from archon.errors import LMError
from archon.lm.openai.load_balancer import MAX_FAILURES, Replica, Replicas
from archon.lm.remote import RemoteLM
from archon.lm.retry import Clock
from archon.spec.model import OpenAICard
from archon.types import Event

URLS = [f"http://{name}.test/v1" for name in ("one", "two", "three")]


class Time:
    def __init__(self) -> None:
        self.now = 0.0
        self.clock = Clock(monotonic=lambda: self.now)


def chosen(replicas: Replicas, *tried: Replica) -> Replica:
    with replicas.one(tried) as replica:
        return replica


def test_the_least_busy_is_asked_and_the_first_of_equals() -> None:
    replicas = Replicas(URLS, Time().clock)
    first, second, third = replicas.all
    with replicas.one() as a, replicas.one() as b:
        assert (a, b) == (first, second)
        with replicas.one() as c:
            assert c is third
        assert chosen(replicas) is third
        assert chosen(replicas, third) is first
    assert [replica.outstanding for replica in replicas.all] == [0, 0, 0]


def test_a_circuit_opens_after_failures_in_a_row_and_one_request_tries_it_again() -> None:
    time = Time()
    replicas = Replicas(URLS[:2], time.clock)
    first, second = replicas.all
    for _ in range(MAX_FAILURES - 1):
        replicas.failed(first)
    assert chosen(replicas) is first
    replicas.did_well(first)
    for _ in range(MAX_FAILURES):
        replicas.failed(first)
    assert chosen(replicas) is second
    time.now = 1
    with replicas.one() as probe:
        assert probe is first
        assert chosen(replicas) is second, "one at a time"
        replicas.failed(first)
    time.now = 2
    assert chosen(replicas) is second, "the second time is longer"
    time.now = 3
    assert chosen(replicas) is first
    replicas.did_well(first)
    with replicas.one() as a, replicas.one() as b, replicas.one() as c:
        assert [a, b, c] == [first, second, first]


def test_failures_of_requests_under_way_do_not_lengthen_the_circuit_s_time() -> None:
    time = Time()
    replicas = Replicas(URLS[:2], time.clock)
    for _ in range(10):
        replicas.failed(replicas.all[0], at_once=True)
    time.now = 1
    assert chosen(replicas) is replicas.all[0]


def test_where_all_are_out_the_one_that_comes_back_first_is_asked() -> None:
    time = Time()
    replicas = Replicas(URLS[:2], time.clock)
    replicas.failed(replicas.all[1], at_once=True)
    time.now = 0.5
    replicas.failed(replicas.all[0], at_once=True)
    assert chosen(replicas) is replicas.all[1]


class Hosts:
    """Answers as each host is told to, by default well; counts the requests of each."""

    def __init__(self, **bad: httpx.Response | Exception) -> None:
        self.bad, self.asked = bad, Counter[str]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        name = request.url.host.removesuffix(".test")
        self.asked[name] += 1
        reply = self.bad.get(name) or good(request)
        if isinstance(reply, Exception):
            raise reply
        return reply


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(503),
        httpx.Response(429, headers={"retry-after": "60"}),
        httpx.ReadError("reset"),
        httpx.ConnectError("refused"),
    ],
)
async def test_a_failure_before_the_first_token_goes_to_another_replica_at_once(
    reply: httpx.Response | Exception,
) -> None:
    waits, hosts = Waits(), Hosts(one=reply)
    [completion] = await remote(hosts, waits, base_urls=URLS).generate(REQUEST)
    assert completion.text == "Hello"
    assert hosts.asked == {"one": 1, "two": 1}
    assert waits.seconds == []


async def test_a_broken_replica_is_left_alone() -> None:
    hosts = Hosts(one=httpx.Response(500))
    lm = remote(hosts, base_urls=URLS)
    for seed in range(10):
        await lm.generate(replace(REQUEST, seed=seed))
    assert hosts.asked["one"] == MAX_FAILURES


async def test_a_refusal_is_every_replica_s() -> None:
    hosts = Hosts(one=httpx.Response(400))
    with pytest.raises(LMError, match="one"):
        await remote(hosts, base_urls=URLS).generate(REQUEST)
    assert hosts.asked == {"one": 1}


async def test_after_the_first_token_there_is_no_failover() -> None:
    events: list[Event] = []
    hosts = Hosts(one=sse(delta("Hel")))
    with pytest.raises(LMError, match="ended before"):
        await remote(hosts, base_urls=URLS).generate(REQUEST, events.append)
    assert hosts.asked == {"one": 1}


async def test_requests_spread_over_the_replicas() -> None:
    asked = Counter[str]()

    class Slow(Wire):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            asked[request.url.host] += 1
            await asyncio.sleep(0.001)  # until all that may go have gone
            return await super().handle_async_request(request)

    card = {"name": "far", "backend": "openai", "base_urls": URLS, "model": "m"}
    lm = RemoteLM(OpenAICard.model_validate(card | {"max_concurrency": 9}), http=Slow(Server()))
    await lm.generate(replace(REQUEST, n=9))
    assert list(asked.values()) == [3, 3, 3]
