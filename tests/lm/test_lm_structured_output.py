"""Judges on servers: free text before a constrained last line."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import permutations
from typing import Any

import httpx
import pytest
from remote_doubles import REQUEST, FakeServer, completion, delta, remote, sse

from archon.errors import LMError
from archon.graph.architecture import Architecture
from archon.graph.judge_output import (
    PREFERENCE_CONSTRAINT,
    VERDICT_CONSTRAINT,
    ranking_constraint,
    read_ranking,
    read_verdict,
    results_constraint,
)
from archon.lm.openai.client import RemoteLM
from archon.lm.openai.structured_output import unwrapped, whole_pattern, wrapping_schema
from archon.types import Constraint, Event, FreeText, Question, TokenDelta

RANKING, RESULTS = ranking_constraint(3), results_constraint(2)
assert RANKING is not None
assert RESULTS is not None
FORMS = [
    (VERDICT_CONSTRAINT, ["correct", "incorrect"], ["maybe", "Correct", ""]),
    (PREFERENCE_CONSTRAINT, ["[1]", "[2]"], ["1", "[3]", "[1] [2]"]),
    (RANKING, [" > ".join(p) for p in permutations(["[1]", "[2]", "[3]"])], ["[1] > [2]", "[1]"]),
    (RESULTS, ["[1] pass, [2] fail"], ["[1] pass", "[2] pass, [1] fail"]),
]
ARGUMENT = 'First.\n\nThen: 2 > 1, so \\ "fine".'


@pytest.mark.parametrize(("form", "good", "bad"), FORMS)
def test_a_pattern_allows_any_argument_before_the_constrained_line(
    form: Constraint, good: list[str], bad: list[str]
) -> None:
    assert form.after is not None
    pattern, label = re.compile(whole_pattern(form)), form.after.label
    for text in good:
        assert pattern.fullmatch(f"{label} {text}")
        assert pattern.fullmatch(f"{ARGUMENT}\n{label} {text}")
        assert not pattern.fullmatch(f"{ARGUMENT}\n{label} {text}\nor not")
        assert not pattern.fullmatch(f"{ARGUMENT} {label} {text}")
    assert not any(pattern.fullmatch(f"{ARGUMENT}\n{label} {text}") for text in bad)


@pytest.mark.parametrize(("form", "good", "bad"), FORMS)
def test_a_schema_has_the_argument_first_and_then_the_value(
    form: Constraint, good: list[str], bad: list[str]
) -> None:
    assert form.after is not None
    schema = wrapping_schema(form)
    first, key = schema["properties"]
    assert first == "argument"
    what = schema["properties"][key]
    for text in good:
        assert allows(what, text)
        value = {"argument": ARGUMENT, key: text}
        assert unwrapped(form, json.dumps(value)) == f"{ARGUMENT}\n{form.after.label} {text}"
    assert not any(allows(what, text) for text in bad)
    assert schema["required"] == [first, key]
    assert unwrapped(form, json.dumps({"argument": "", key: good[0]})).startswith(form.after.label)


@pytest.mark.parametrize(("form", "good", "bad"), FORMS)
def test_pattern_and_schema_compile_to_grammars(
    form: Constraint, good: list[str], bad: list[str]
) -> None:
    """Checks with llguidance, one of vLLM's libraries for grammars."""
    matcher = pytest.importorskip("llguidance").LLMatcher
    assert not matcher.validate_grammar(matcher.grammar_from_regex(whole_pattern(form)))
    schema = json.dumps(wrapping_schema(form))
    assert not matcher.validate_grammar(matcher.grammar_from_json_schema(schema))


def allows(what: dict[str, Any], text: str) -> bool:
    """Checks the two keywords of JSON Schema that are used."""
    assert what.keys() <= {"type", "enum", "pattern"}
    return text in what["enum"] if "enum" in what else re.search(what["pattern"], text) is not None


def test_a_pattern_of_plain_alternatives_becomes_an_enum() -> None:
    assert wrapping_schema(VERDICT_CONSTRAINT)["properties"]["verdict"]["enum"] == [
        "correct",
        "incorrect",
    ]
    assert wrapping_schema(PREFERENCE_CONSTRAINT)["properties"]["better"]["enum"] == ["[1]", "[2]"]
    assert len(wrapping_schema(RANKING)["properties"]["ranking"]["enum"]) == 6  # type: ignore[arg-type]
    assert "pattern" in wrapping_schema(RESULTS)["properties"]["tests"]  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "{}", "[]", "7", '{"argument": 1, "verdict": "x"}', "{" * 9])
def test_an_invalid_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        unwrapped(VERDICT_CONSTRAINT, text)


# ---------------------------------------------------------------------------- over the protocol


def said(text: str, reason: str = "stop") -> FakeServer:
    return FakeServer(*[httpx.Response(200, json=completion(text, reason))] * 3)


async def test_a_vllm_server_gets_a_pattern_and_streams() -> None:
    text = "It holds.\nVerdict: correct"
    server, events = FakeServer(sse(delta(text), delta("", "stop"), "[DONE]")), list[Event]()
    request = replace(REQUEST, constraint=VERDICT_CONSTRAINT)
    [reply] = await remote(server, constraint="structured_outputs").generate(request, events.append)
    assert server.bodies[0]["structured_outputs"] == {"regex": whole_pattern(VERDICT_CONSTRAINT)}
    assert (reply.text, events) == (text, [TokenDelta(0, text)])


@pytest.mark.parametrize("words", ["json_schema", "json_object"])
@pytest.mark.parametrize("streams", [False, True])
async def test_other_servers_get_a_schema_and_the_text_is_assembled(
    words: str, streams: bool
) -> None:
    server = said(json.dumps({"argument": "It holds.\n", "verdict": "correct"}))
    events: list[Event] = []
    request = replace(REQUEST, constraint=VERDICT_CONSTRAINT)
    lm = remote(server, constraint=words)
    [reply] = await lm.generate(request, events.append if streams else None)
    assert reply.text == "It holds.\nVerdict: correct"
    assert read_verdict(reply.text) == "pass"
    assert events == ([TokenDelta(0, reply.text)] if streams else [])
    [body] = server.bodies
    assert "stream" not in body
    sent = body["response_format"]
    schema = sent["schema"] if words == "json_object" else sent["json_schema"]["schema"]
    assert schema == wrapping_schema(VERDICT_CONSTRAINT)


async def test_an_unconstrained_reply_of_a_judge_is_an_error_unless_it_was_truncated() -> None:
    request = replace(REQUEST, constraint=VERDICT_CONSTRAINT)
    with pytest.raises(LMError, match="did not apply the schema"):
        await remote(said("Verdict: correct"), constraint="json_schema").generate(request)
    cut = '{"argument": "It ho'
    [reply] = await remote(said(cut, "length"), constraint="json_schema").generate(request)
    assert (reply.text, reply.finish_reason) == (cut, "length")


def test_the_key_of_a_judge_s_samples_depends_on_the_request_format() -> None:
    request = replace(REQUEST, constraint=VERDICT_CONSTRAINT)
    ways = ("json_schema", "json_object", "structured_outputs")
    lms = [remote(FakeServer(), constraint=words) for words in ways]
    assert len({lm.draw_key(request) for lm in lms}) == 3
    assert len({lm.draw_key(REQUEST) for lm in lms}) == 1


async def test_judges_of_a_graph_are_constrained_if_the_card_supports_it() -> None:
    """A ranker of three candidates with a server that follows the schema."""
    bodies: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        bodies.append(body)
        text = f"Draft {len(bodies)}: the answer is {len(bodies)}."
        if "response_format" in body:
            text = json.dumps({"argument": "The second.", "ranking": "[2] > [3] > [1]"})
        return httpx.Response(200, json=completion(text))

    def judged_by(lm: RemoteLM) -> Architecture:
        from archon import api

        nodes = {
            "draft": {"type": "generator", "model": "solver", "samples": 3},
            "best": {"type": "ranker", "model": "solver", "inputs": ["draft"], "keep": 1},
        }
        spec = {"version": 1, "name": "x", "models": {"solver": "scripted"}, "nodes": nodes}
        return api.load({**spec, "output": "best"}, {"solver": lm})

    answered = await judged_by(remote(answer, constraint="json_schema")).answer(Question("1 + 1?"))
    assert [("response_format" in body) for body in bodies] == [False] * 3 + [True]
    assert answered.text == "Draft 2: the answer is 2."
    bodies.clear()
    await judged_by(remote(answer)).answer(Question("1 + 1?"))
    assert not any("response_format" in body for body in bodies)


def test_an_order_of_many_items_is_requested_in_the_prompt_only() -> None:
    assert read_ranking("Ranking: [2] > [1]", 2) == [1, 0]
    five, six = ranking_constraint(5), ranking_constraint(6)
    from archon.lm.base import supports

    assert five is not None
    assert six is not None
    assert supports(frozenset({"closing"}), five)
    assert not supports(frozenset({"closing"}), six)
    assert not supports(frozenset({"closing"}), replace(five, after=None))
    after = FreeText("Answer:", 9)
    assert not supports(frozenset({"closing"}), Constraint(json_schema={}, after=after))
