"""Replies of the shipped adapter, and rewards of the shipped head."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

import archon
from archon import api
from archon.lm.base import close
from archon.train.synthetic.sums import chain_sum_of, chain_sums
from archon.types import Message, Request, SamplingParams

pytestmark = pytest.mark.real

GREEDY = SamplingParams(temperature=0, max_tokens=256)


async def said_by(name: str, questions: list[str]) -> list[str]:
    """A card's greedy answers."""
    lm = api.lm(name)
    asked = [Request((Message("user", question),), sampling=GREEDY) for question in questions]
    said = await asyncio.gather(*map(lm.generate, asked))
    await close(lm)
    return [completions[0].text.strip() for completions in said]


async def test_chain_sums_are_worked_as_they_were_taught() -> None:
    taught = list(chain_sums(10, seed=2))
    said = await said_by("arithmetic-smollm2-135m", [question for question, _ in taught])
    same = [text == answer for text, (_, answer) in zip(said, taught, strict=True)]
    assert sum(same) >= 9  # of the test split it knows 99 in 100


async def test_the_reinforced_adapter_works_longer_sums_than_were_shown() -> None:
    """Of seven terms, where the texts that it was shown had six at most."""
    random = Random(0)
    sums = [
        chain_sum_of([random.randint(10, 99), *(random.randint(-99, 99) for _ in range(6))])
        for _ in range(12)
    ]
    said = await said_by("grpo-arithmetic-smollm2-135m", [question for question, _ in sums])
    right = [
        text.splitlines()[-1] == working.splitlines()[-1]
        for text, (_, working) in zip(said, sums, strict=True)
    ]
    assert sum(right) >= 6


async def test_the_specialist_answers_alone_where_it_is_held_for_right() -> None:
    question, _ = chain_sum_of([34, -61, 7])
    models = {"solver": "scripted"}  # which would answer, too
    answer = await archon.load("specialist-first", models=models).arun(question)
    assert answer.value == "-20"
    assert [candidate.node for candidate in answer.trace.nodes["answer"].inputs] == ["quick"]
