"""Admission, and the token bound of an answer."""

from __future__ import annotations

import asyncio

import pytest

from archon import api
from archon.lm.scripted.lm import ScriptedLM, in_turn
from archon.serve.admission import Admission, FullError
from archon.serve.limits import token_bound
from archon.types import SamplingParams


class Visitor:
    """A request that occupies its slot until ``leave`` is set."""

    def __init__(self, admission: Admission, served: list[str], name: str) -> None:
        self.leave = asyncio.Event()
        self._admission, self._served, self._name = admission, served, name
        self.task = asyncio.create_task(self._visit())

    async def _visit(self) -> None:
        async with self._admission.slot():
            self._served.append(self._name)
            await self.leave.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_slots_are_first_come_first_served() -> None:
    admission, served = Admission(1, 2), list[str]()
    first, second, third = (Visitor(admission, served, name) for name in ("a", "b", "c"))
    await settle()
    assert (served, admission.running, admission.waiting) == (["a"], 1, 2)
    with pytest.raises(FullError) as caught:
        await Visitor(admission, served, "d").task
    assert caught.value.retry_after_seconds >= 1
    first.leave.set()
    await settle()
    assert served == ["a", "b"]
    second.leave.set()
    third.leave.set()
    await asyncio.gather(first.task, second.task, third.task)
    assert (served, admission.running, admission.waiting) == (["a", "b", "c"], 0, 0)


async def test_a_request_cancelled_while_waiting_leaves_the_queue() -> None:
    admission, served = Admission(1, 1), list[str]()
    first, second = (Visitor(admission, served, name) for name in ("a", "b"))
    await settle()
    second.task.cancel()
    await settle()
    assert admission.waiting == 0
    third = Visitor(admission, served, "c")
    first.leave.set()
    third.leave.set()
    await asyncio.gather(first.task, third.task)
    assert served == ["a", "c"]


async def test_without_a_queue_requests_are_rejected() -> None:
    admission, served = Admission(1, 0), list[str]()
    first = Visitor(admission, served, "a")
    await settle()
    with pytest.raises(FullError):
        await Visitor(admission, served, "b").task
    first.leave.set()
    await first.task


def test_the_bound_of_an_architecture_covers_all_nodes() -> None:
    scripted = {"solver": "scripted"}
    single = token_bound(api.lm(api.load("single", scripted)))
    voting = token_bound(api.lm(api.load("self-consistency", scripted)))
    each = single(SamplingParams())
    assert voting(SamplingParams()) == 8 * each
    assert single(SamplingParams(max_tokens=7)) == 7


def test_the_bound_of_a_plain_model_is_max_tokens() -> None:
    card = {"name": "m", "backend": "scripted", "sampling": {"max_tokens": 9}}
    assert token_bound(api.lm(card))(SamplingParams()) == 9
    assert token_bound(api.lm(card))(SamplingParams(max_tokens=4)) == 4
    assert token_bound(ScriptedLM(in_turn(["a"])))(SamplingParams()) == 512
