"""Separation of reasoning from answers by all models."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest
from remote_doubles import REQUEST, FakeServer, delta, remote, sse
from remote_doubles import completion as reply

from archon.errors import UnsupportedError
from archon.lm.factory import capabilities
from archon.lm.openai.payload import request_body
from archon.lm.pool import completion_codec
from archon.lm.reasoning import generate_separated
from archon.lm.scripted.lm import ScriptedLM, in_turn
from archon.reasoning import ReasoningMarkers
from archon.spec.model import OpenAICard, ScriptedCard
from archon.types import (
    DEFAULT_SAMPLING,
    Completion,
    Constraint,
    Event,
    Message,
    OnEvent,
    Request,
    SamplingParams,
    Thinking,
    TokenDelta,
    Usage,
)

QUESTION = Request((Message("user", "2 + 2?"),), sampling=SamplingParams(max_tokens=50))
REPLY = "<think>\nIs the answer 3? No.\n</think>\n\nThe answer is 4."


def completion(text: str, **values: Any) -> Completion:
    return replace(Completion(text, 0, "stop", Usage(calls=1), {"p": 3}), **values)


async def split(
    made: Completion,
    request: Request = QUESTION,
    deltas: tuple[TokenDelta, ...] = (),
    **how: Any,
) -> tuple[Completion, list[TokenDelta]]:
    """The separated completion and its deltas."""
    events: list[Event] = []

    async def generate(request: Request, on_event: OnEvent | None) -> list[Completion]:
        for event in deltas:
            assert on_event is not None
            on_event(event)
        return [made]

    [result] = await generate_separated(generate, request, events.append, **how)
    return result, [event for event in events if isinstance(event, TokenDelta)]


def texts(deltas: list[TokenDelta]) -> tuple[str, str]:
    """Reasoning and answer."""
    kinds = (True, False)
    return tuple("".join(d.text for d in deltas if d.is_reasoning == k) for k in kinds)  # type: ignore[return-value]


async def test_reasoning_and_answer_concatenate_to_the_text() -> None:
    deltas = tuple(TokenDelta(0, letter) for letter in REPLY)
    result, sent = await split(completion(REPLY), deltas=deltas)
    assert result.text == "The answer is 4."
    assert result.reasoning + result.text == REPLY
    assert texts(sent) == (result.reasoning, result.text)


async def test_reasoning_in_a_separate_field_is_kept() -> None:
    """Such as a server's ``reasoning_content``."""
    deltas = (TokenDelta(0, "Is it 3?", is_reasoning=True), TokenDelta(0, "It is 4."))
    made = completion("It is 4.", reasoning="Is it 3?")
    result, sent = await split(made, deltas=deltas, markers=[ReasoningMarkers("", "</think>")])
    assert (result.reasoning, result.text) == ("Is it 3?", "It is 4.")
    assert texts(sent) == ("Is it 3?", "It is 4.")


@pytest.mark.parametrize(
    "made",
    [
        completion("<think>\nIs it 3?", finish_reason="length"),
        completion("<think>\nIs it 3?"),
        completion("", reasoning="Is it 3?", finish_reason="length"),
        completion("<think>3</think>\n\n", finish_reason="length"),
    ],
    ids=["marker", "ended", "field", "no answer"],
)
async def test_truncated_reasoning_has_no_answer(made: Completion) -> None:
    result, _ = await split(made)
    assert result.is_reasoning_cut_off
    assert result.text == ""
    assert "3" in result.reasoning


async def test_a_text_that_ends_at_max_tokens_without_reasoning_is_an_answer() -> None:
    result, _ = await split(completion("The answer is", finish_reason="length"))
    assert (result.text, result.is_reasoning_cut_off) == ("The answer is", False)


async def test_a_truncated_reply_without_marker_is_reasoning_if_thinking_was_on() -> None:
    """The start marker may be in the server's template, and the end marker after ``max_tokens``."""
    made = completion("Is it 3? Then", finish_reason="length")
    asked = replace(QUESTION, thinking=Thinking(enabled=True))
    result, _ = await split(made, asked, hides_start=True)
    assert (result.text, result.is_reasoning_cut_off) == ("", True)
    for request, how in ((QUESTION, True), (asked, False)):
        result, _ = await split(made, request, hides_start=how)
        assert result.text == "Is it 3? Then"
    result, _ = await split(completion("It is 3."), asked, hides_start=True)
    assert result.text == "It is 3."


async def test_an_empty_start_marker_applies_unless_thinking_is_off() -> None:
    markers = [ReasoningMarkers("", "</think>")]
    result, sent = await split(completion("3?"), deltas=(TokenDelta(0, "3?"),), markers=markers)
    assert result.is_reasoning_cut_off
    assert texts(sent) == ("3?", "")
    asked = replace(QUESTION, thinking=Thinking(enabled=False))
    result, sent = await split(
        completion("4"), asked, deltas=(TokenDelta(0, "4"),), markers=markers
    )
    assert (result.text, texts(sent)) == ("4", ("", "4"))


async def test_constrained_texts_and_scored_choices_have_no_reasoning() -> None:
    quoted = '{"text": "the tag </think> ends it"}'
    bound = replace(QUESTION, constraint=Constraint(json_schema={"type": "object"}))
    result, _ = await split(completion(quoted), bound)
    assert (result.text, result.reasoning) == (quoted, "")
    scored, _ = await split(
        completion("", finish_reason="choices"), replace(QUESTION, choices=("a",))
    )
    assert not scored.is_reasoning_cut_off


async def test_separating_is_idempotent() -> None:
    once, _ = await split(completion(REPLY))
    twice, _ = await split(once)
    assert twice == once


def test_stored_completions_keep_reasoning_and_notes() -> None:
    made = completion("4", reasoning="3?</think>", notes=("a note",))
    assert completion_codec.decode(completion_codec.encode(made)) == made
    cut_off = completion("", reasoning="3?", is_reasoning_cut_off=True)
    assert completion_codec.decode(completion_codec.encode(cut_off)) == cut_off


def test_a_stored_completion_without_reasoning_has_the_original_format() -> None:
    import json
    import zlib

    data = json.loads(zlib.decompress(completion_codec.encode(completion("4"))))
    assert not {"reasoning", "notes", "is_reasoning_cut_off"} & set(data)
    assert completion_codec.decode(completion_codec.encode(completion("4"))).notes == ()


# -------------------------------------------------------------------------------- scripted model


async def test_a_scripted_model_splits_its_replies() -> None:
    events: list[Event] = []
    lm = ScriptedLM(in_turn([REPLY]))
    [result] = await lm.generate(QUESTION, events.append)
    assert result.text == "The answer is 4."
    assert texts([e for e in events if isinstance(e, TokenDelta)]) == (
        result.reasoning,
        result.text,
    )
    assert result.usage.completion_tokens == len(REPLY.split())


async def test_stop_strings_end_the_answer_and_not_the_reasoning() -> None:
    stop = SamplingParams(stop=("answer",))
    [result] = await ScriptedLM(in_turn([REPLY])).generate(replace(QUESTION, sampling=stop))
    assert result.text == "The "
    assert "Is the answer 3?" in result.reasoning


async def test_max_tokens_counts_reasoning_too() -> None:
    short = SamplingParams(max_tokens=4)
    [result] = await ScriptedLM(in_turn([REPLY])).generate(replace(QUESTION, sampling=short))
    assert (result.finish_reason, result.is_reasoning_cut_off) == ("length", True)


async def test_a_scripted_model_respects_the_thinking_budget() -> None:
    asked = replace(QUESTION, thinking=Thinking(max_tokens=3))
    [result] = await ScriptedLM(in_turn([REPLY])).generate(asked)
    assert result.reasoning == "<think>\nIs the\n</think>\n\n"
    assert result.text == "The answer is 4."


async def test_a_card_may_define_its_own_markers() -> None:
    values = {
        "name": "m",
        "backend": "scripted",
        "reasoning_markers": {"start": "<a>", "end": "<b>"},
    }
    card = ScriptedCard.model_validate(values)
    lm = ScriptedLM(in_turn(["<a>3?<b>4 </think>"]), reasoning_markers=card.markers())
    [result] = await lm.generate(QUESTION)
    assert result.text == "4 </think>"


# ------------------------------------------------------------------------- thinking parameters


def key(asked: Thinking, **values: Any) -> str | None:
    lm = ScriptedLM(in_turn(["4"]), identity="x", **values)
    return lm.draw_key(replace(QUESTION, thinking=asked))


def test_the_key_depends_on_thinking() -> None:
    asked = [
        Thinking(),
        Thinking(enabled=True),
        Thinking(enabled=False),
        Thinking(max_tokens=5),
        Thinking(template_variables={"level": "high"}),
    ]
    assert len({key(thinking) for thinking in asked}) == len(asked)
    assert key(Thinking(enabled="auto")) == key(Thinking())
    assert key(Thinking(), thinking=Thinking(enabled=True)) == key(Thinking(enabled=True))
    own = (ReasoningMarkers("<a>", "<b>"),)
    assert key(Thinking(), reasoning_markers=own) != key(Thinking())


def test_the_key_without_thinking_is_unchanged() -> None:
    """Samples of earlier versions must be found."""
    lm = ScriptedLM(in_turn(["4"]), identity="x")
    assert lm.draw_key(QUESTION) == "244592ec1d8281e82479142aa7efbbe2"


def test_a_node_s_values_take_precedence_over_its_card_s() -> None:
    card = Thinking(True, {"a": 1, "b": 2}, 100)
    assert Thinking().over(card) == card
    assert Thinking(False, {"b": 3}, 50).over(card) == Thinking(False, {"a": 1, "b": 3}, 50)
    assert Thinking("auto").over(card).wanted is None


def body(thinking: Thinking, **card: object) -> dict[str, object]:
    """Fields of the body that the thinking parameters add."""
    values = {"name": "m", "backend": "openai", "base_urls": ["http://x/v1"], "model": "m"}
    spec = OpenAICard.model_validate(values | card)
    request = replace(QUESTION, sampling=QUESTION.sampling.over(DEFAULT_SAMPLING))
    plain = request_body(spec, request, seed=1)
    asked = request_body(spec, replace(request, thinking=thinking), seed=1)
    return {name: value for name, value in asked.items() if name not in plain}


@pytest.mark.parametrize(
    ("field", "thinking", "sent"),
    [
        ("chat_template_kwargs", Thinking(), {}),
        ("chat_template_kwargs", Thinking("auto"), {}),
        (
            "chat_template_kwargs",
            Thinking(True),
            {"chat_template_kwargs": {"enable_thinking": True}},
        ),
        (
            "chat_template_kwargs",
            Thinking(False, {"thinking": False}),
            {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}},
        ),
        ("reasoning_effort", Thinking(True), {"reasoning_effort": "medium"}),
        ("reasoning_effort", Thinking(False), {"reasoning_effort": "none"}),
        (
            "reasoning_effort",
            Thinking(template_variables={"a": 1}),
            {"chat_template_kwargs": {"a": 1}},
        ),
        ("reasoning", Thinking(False), {"reasoning": {"enabled": False}}),
        ("reasoning", Thinking(max_tokens=9), {"reasoning": {"max_tokens": 9}}),
        ("enable_thinking", Thinking(True), {"enable_thinking": True}),
        (
            "enable_thinking",
            Thinking(True, None, 9),
            {"enable_thinking": True, "thinking_budget": 9},
        ),
    ],
)
def test_thinking_becomes_the_fields_of_the_server(
    field: str, thinking: Thinking, sent: dict[str, object]
) -> None:
    assert body(thinking, thinking_field=field) == sent


def test_the_card_determines_the_thinking_capabilities() -> None:
    def told(**card: object) -> set[str]:
        values = {"name": "m", "backend": "openai", "base_urls": ["http://x/v1"], "model": "m"}
        has = capabilities(OpenAICard.model_validate(values | card))
        return set(has & {"thinking", "thinking_budget"})

    assert told() == {"thinking"}
    assert told(thinking_field="reasoning") == {"thinking", "thinking_budget"}
    assert told(endpoint="completions") == set()


def test_a_model_without_thinking_control_refuses() -> None:
    lm = ScriptedLM(in_turn(["4"]), capabilities=frozenset({"chat"}))
    for thinking in (Thinking(True), Thinking(template_variables={"a": 1}), Thinking(max_tokens=5)):
        with pytest.raises(UnsupportedError, match="lacks the capability 'thinking"):
            asyncio.run(lm.generate(replace(QUESTION, thinking=thinking)))
    asyncio.run(lm.generate(replace(QUESTION, thinking=Thinking("auto"))))


# -------------------------------------------------------------------------------------- servers


async def test_a_server_s_text_is_split() -> None:
    [result] = await remote(FakeServer(httpx.Response(200, json=reply(REPLY)))).generate(REQUEST)
    assert result.text == "The answer is 4."
    assert result.reasoning + result.text == REPLY


async def test_a_server_s_stream_is_split() -> None:
    events: list[Event] = []
    parts = [delta(text) for text in (REPLY[:3], REPLY[3:30], REPLY[30:])]
    server = FakeServer(sse(*parts, delta("", "stop"), "[DONE]"))
    [result] = await remote(server).generate(REQUEST, events.append)
    assert result.text == "The answer is 4."
    deltas = [event for event in events if isinstance(event, TokenDelta)]
    assert texts(deltas) == (result.reasoning, result.text)


async def test_a_card_s_thinking_is_sent_to_the_server() -> None:
    server = FakeServer(httpx.Response(200, json=reply("4")))
    lm = remote(server, thinking=False, chat_template_kwargs={"a": 1})
    await lm.generate(REQUEST)
    assert server.bodies[0]["chat_template_kwargs"] == {"enable_thinking": False, "a": 1}


async def test_a_server_s_template_may_open_the_reasoning() -> None:
    """With the markers of the card."""
    markers = {"start": "", "end": "</think>"}
    for text, answer, is_cut_off in (("3? 4", "", True), ("3?</think>4", "4", False)):
        server = FakeServer(httpx.Response(200, json=reply(text)))
        [result] = await remote(server, reasoning_markers=markers).generate(REQUEST)
        assert (result.text, result.is_reasoning_cut_off) == (answer, is_cut_off)
