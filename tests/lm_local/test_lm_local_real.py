"""A real small model under constraints and as a judge."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator

import pytest

from archon import api
from archon.graph.judge_output import (
    VERDICT_CONSTRAINT,
    ranking_constraint,
    read_ranking,
    read_verdict,
)
from archon.lm.base import LM, close
from archon.types import Constraint, Message, Request, SamplingParams

pytestmark = pytest.mark.real

GREEDY = SamplingParams(temperature=0, max_tokens=64)


def ask(text: str, **fields: object) -> Request:
    return Request((Message("user", text),), **({"sampling": GREEDY} | fields))  # type: ignore[arg-type]


@pytest.fixture
async def lm() -> AsyncIterator[LM]:
    lm = api.lm("smollm2-135m")
    yield lm
    await close(lm)


async def test_greedy_texts_satisfy_the_constraint(lm: LM) -> None:
    schema = {
        "type": "object",
        "properties": {
            "reasoning": {"type": "string", "maxLength": 80},
            "answer": {"type": "integer"},
        },
        "required": ["reasoning", "answer"],
        "additionalProperties": False,
    }
    question = "What is 17 + 23? Answer in JSON."
    [data] = await lm.generate(ask(question, constraint=Constraint(json_schema=schema)))
    assert json.loads(data.text).keys() == {"reasoning", "answer"}
    assert json.dumps(json.loads(data.text), ensure_ascii=False) == data.text
    [line] = await lm.generate(ask(question, constraint=Constraint(regex=r"The sum is \d{1,3}\.")))
    assert re.fullmatch(r"The sum is \d{1,3}\.", line.text)
    assert {data.finish_reason, line.finish_reason} == {"stop"}


async def test_judges_come_to_an_end_that_is_read_however_short_their_time(lm: LM) -> None:
    for max_tokens in (32, 100):
        sampling = SamplingParams(temperature=0.8, max_tokens=max_tokens)
        question = "Is 17 + 23 = 40 right? Argue step by step."
        judged = await lm.generate(
            ask(question, n=4, sampling=sampling, constraint=VERDICT_CONSTRAINT)
        )
        assert all(read_verdict(c.text) in ("pass", "fail") for c in judged)
        assert all(c.text.splitlines()[-1].startswith("Verdict: ") for c in judged)
        ranked = await lm.generate(
            ask("Which is best?", n=4, sampling=sampling, constraint=ranking_constraint(3))
        )
        assert all(sorted(read_ranking(c.text, 3) or ()) == [0, 1, 2] for c in ranked)


async def test_the_likeliest_choice_is_the_sensible_one(lm: LM) -> None:
    choices = ("Paris", "Madrid", "Berlin")
    question = "What is the capital of France? Answer with its name alone."
    [scored] = await lm.generate(ask(question, choices=choices))
    assert scored.choice_logprobs is not None
    assert max(choices, key=scored.choice_logprobs.__getitem__) == "Paris"


async def test_a_choice_is_as_likely_as_the_forced_text(lm: LM) -> None:
    choice = "The capital of France is Paris."
    [scored] = await lm.generate(ask("What is the capital of France?", choices=(choice,)))
    form = Constraint(regex=re.escape(choice))
    [forced] = await lm.generate(
        ask("What is the capital of France?", constraint=form, logprobs=True)
    )
    assert scored.choice_logprobs is not None
    assert forced.logprobs is not None
    assert forced.text == choice
    assert scored.choice_logprobs[choice] == pytest.approx(sum(forced.logprobs), abs=0.1)
