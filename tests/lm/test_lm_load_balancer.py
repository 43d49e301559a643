"""Load balancing: the least busy healthy server is chosen, and failover works."""

import asyncio
from collections import Counter
from dataclasses import replace

import httpx
import pytest
from remote_doubles import REQUEST, FakeServer, Waits, Wire, delta, good, remote, sse

from archon.errors import LMError
from archon.lm.openai.client import RemoteLM
from archon.lm.openai.load_balancer import MAX_FAILURES, LoadBalancer, Replica
from archon.lm.retry import Clock
from archon.spec.model import OpenAICard
from archon.types import Event

URLS = [f"http://{name}.test/v1" for name in ("one", "two", "three")]


class Time:
    def __init__(self) -> None:
        self.now = 0.0
        self.clock = Clock(monotonic=lambda: self.now)


def chosen(balancer: LoadBalancer, *tried: Replica) -> Replica:
    with balancer.choose(tried) as replica:
        return replica


def test_the_least_busy_replica_is_chosen_and_the_first_of_equal_ones() -> None:
    balancer = LoadBalancer(URLS, Time().clock)
    first, second, third = balancer.replicas
    with balancer.choose() as a, balancer.choose() as b:
        assert (a, b) == (first, second)
        with balancer.choose() as c:
            assert c is third
        assert chosen(balancer) is third
        assert chosen(balancer, third) is first
    assert [replica.outstanding for replica in balancer.replicas] == [0, 0, 0]


def test_a_circuit_opens_after_consecutive_failures_and_one_request_probes_it() -> None:
    time = Time()
    balancer = LoadBalancer(URLS[:2], time.clock)
    first, second = balancer.replicas
    for _ in range(MAX_FAILURES - 1):
        balancer.failed(first)
    assert chosen(balancer) is first
    balancer.succeeded(first)
    for _ in range(MAX_FAILURES):
        balancer.failed(first)
    assert chosen(balancer) is second
    time.now = 1
    with balancer.choose() as probe:
        assert probe is first
        assert chosen(balancer) is second, "one at a time"
        balancer.failed(first)
    time.now = 2
    assert chosen(balancer) is second, "the second time is longer"
    time.now = 3
    assert chosen(balancer) is first
    balancer.succeeded(first)
    with balancer.choose() as a, balancer.choose() as b, balancer.choose() as c:
        assert [a, b, c] == [first, second, first]


def test_failures_of_running_requests_do_not_extend_an_open_circuit() -> None:
    time = Time()
    balancer = LoadBalancer(URLS[:2], time.clock)
    for _ in range(10):
        balancer.failed(balancer.replicas[0], is_unreachable=True)
    time.now = 1
    assert chosen(balancer) is balancer.replicas[0]


def test_if_all_circuits_are_open_the_first_to_close_is_chosen() -> None:
    time = Time()
    balancer = LoadBalancer(URLS[:2], time.clock)
    balancer.failed(balancer.replicas[1], is_unreachable=True)
    time.now = 0.5
    balancer.failed(balancer.replicas[0], is_unreachable=True)
    assert chosen(balancer) is balancer.replicas[1]


class Hosts:
    """Answers for each host as configured, by default successfully; counts requests per host."""

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


async def test_a_broken_replica_gets_no_requests() -> None:
    hosts = Hosts(one=httpx.Response(500))
    lm = remote(hosts, base_urls=URLS)
    for seed in range(10):
        await lm.generate(replace(REQUEST, seed=seed))
    assert hosts.asked["one"] == MAX_FAILURES


async def test_a_refusal_is_not_retried_on_another_replica() -> None:
    hosts = Hosts(one=httpx.Response(400))
    with pytest.raises(LMError, match="one"):
        await remote(hosts, base_urls=URLS).generate(REQUEST)
    assert hosts.asked == {"one": 1}


async def test_there_is_no_failover_after_the_first_token() -> None:
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
    lm = RemoteLM(OpenAICard.model_validate(card | {"max_concurrency": 9}), http=Slow(FakeServer()))
    await lm.generate(replace(REQUEST, n=9))
    assert list(asked.values()) == [3, 3, 3]
