import asyncio
import re
from dataclasses import replace

import pytest

from archon.errors import LMError, UnsupportedError
from archon.lm.scripted.lm import ScriptedLM, by_rules, in_turn, open_scripted
from archon.spec.model import ScriptedCard
from archon.types import Event, Message, Request, SamplingParams, TokenDelta

REQUEST = Request((Message("system", "You are kind."), Message("user", "Say it.")))


def greedy(request: Request) -> Request:
    return replace(request, sampling=replace(request.sampling, temperature=0))


async def texts(lm: ScriptedLM, request: Request) -> list[str]:
    return [completion.text for completion in await lm.generate(request)]


async def test_replies_follow_the_sample_number() -> None:
    lm = ScriptedLM(in_turn(["a", "b", "c"]))
    assert await texts(lm, replace(REQUEST, n=4, first_draw=1)) == ["b", "c", "a", "b"]


async def test_at_temperature_0_the_script_sees_sample_0_and_seed_0() -> None:
    lm = ScriptedLM(lambda request, draw: f"{request.seed} {draw}")
    assert await texts(lm, greedy(replace(REQUEST, n=2, first_draw=7, seed=5))) == ["0 0", "0 0"]


async def test_the_script_sees_the_effective_sampling() -> None:
    lm = ScriptedLM(
        lambda request, draw: f"{request.sampling.temperature} {request.sampling.top_p}",
        sampling=SamplingParams(temperature=0.3, top_p=0.9),
    )
    asked = replace(REQUEST, sampling=SamplingParams(temperature=0.5))
    assert await texts(lm, asked) == ["0.5 0.9"]


async def test_the_first_matching_rule_decides() -> None:
    script = by_rules({"cruel": "no", re.compile(r"k[aeiou]nd"): ["yes", "maybe"], "": "else"})
    assert await texts(ScriptedLM(script), replace(REQUEST, n=3)) == ["yes", "maybe", "yes"]


async def test_a_request_without_a_matching_rule_is_an_error_that_quotes_it() -> None:
    with pytest.raises(LMError, match="Say it"):
        await ScriptedLM(by_rules({"cruel": "no"})).generate(REQUEST)


async def test_an_exception_of_the_script_is_raised_unchanged() -> None:
    def broken(request: Request, draw: int) -> str:
        raise LMError("busy", retryable=True, retry_after_seconds=3)

    with pytest.raises(LMError, match="busy") as caught:
        await ScriptedLM(broken).generate(REQUEST)
    assert caught.value.retryable


async def test_requests_are_recorded_unchanged() -> None:
    lm = ScriptedLM(in_turn(["a"]))
    await lm.generate(REQUEST)
    await lm.generate(greedy(REQUEST))
    assert lm.requests == [REQUEST, greedy(REQUEST)]


async def test_tokens_are_words_and_the_earliest_stop_string_ends_the_text() -> None:
    lm = ScriptedLM(in_turn(["one two  three\nfour five "]))
    cut = replace(REQUEST, sampling=SamplingParams(max_tokens=3))
    [completion] = await lm.generate(cut)
    assert (completion.text, completion.finish_reason) == ("one two  three", "length")
    stopped = replace(REQUEST, sampling=SamplingParams(stop=("five", "three")))
    [completion] = await lm.generate(stopped)
    assert (completion.text, completion.finish_reason) == ("one two  ", "stop")
    assert completion.usage.completion_tokens == 2
    assert completion.usage.prompt_tokens == 5


async def test_deltas_are_tokens_and_keep_white_space() -> None:
    events: list[Event] = []
    await ScriptedLM(in_turn([" one two\n"])).generate(REQUEST, events.append)
    assert events == [TokenDelta(0, " one"), TokenDelta(0, " two"), TokenDelta(0, "\n")]


async def test_a_model_without_the_capability_sends_no_deltas() -> None:
    events: list[Event] = []
    lm = ScriptedLM(in_turn(["a b"]), capabilities=frozenset({"chat"}))
    await lm.generate(REQUEST, events.append)
    assert events == []


async def test_choices_depend_on_the_prompt_and_sum_to_1() -> None:
    lm = ScriptedLM(in_turn(["a"]))
    [first] = await lm.generate(replace(REQUEST, choices=("yes", "no", "abstain")))
    [other] = await lm.generate(
        replace(REQUEST, messages=REQUEST.messages[1:], choices=("yes", "no", "abstain"))
    )
    assert first.choice_logprobs is not None
    assert sum(2.718281828459045**p for p in first.choice_logprobs.values()) == pytest.approx(1)
    assert first.choice_logprobs != other.choice_logprobs


async def test_a_request_without_choices_to_score_is_refused() -> None:
    with pytest.raises(UnsupportedError):
        await ScriptedLM(in_turn(["a"])).generate(replace(REQUEST, choices=()))


async def test_each_call_takes_the_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    lm = ScriptedLM(in_turn(["a"]), delay_seconds=0.5)
    await lm.generate(replace(REQUEST, n=3))
    assert waits == [0.5]


async def test_a_card_s_model_has_its_sampling_and_records_nothing() -> None:
    card = ScriptedCard.model_validate(
        {"name": "fake", "backend": "scripted", "accuracy": 1, "sampling": {"max_tokens": 2}}
    )
    lm = open_scripted(card)
    [completion] = await lm.generate(REQUEST)
    assert completion.finish_reason == "length"
    assert lm.requests == []


async def test_texts_with_the_same_words_have_the_same_direction() -> None:
    lm = ScriptedLM(in_turn(["x"]))
    same, also, other, nothing = await lm.embed(["a b", "b  a", "c d e", ""])
    assert same == also
    assert sum(x * y for x, y in zip(same, other, strict=True)) < 0.9
    for vector in (same, other, nothing):
        assert sum(x * x for x in vector) == pytest.approx(1)
