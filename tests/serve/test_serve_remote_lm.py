"""Archon's client with Archon's server: a remote model behaves like any other."""

import json
import re
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from serve_process import KEY, Served

from archon.api import Loader
from archon.graph.judge_output import VERDICT_CONSTRAINT, results_constraint
from archon.lm.openai.client import RemoteLM
from archon.spec.model import OpenAICard
from archon.types import Constraint, Event, Message, Request, SamplingParams, TokenDelta

REQUEST = Request(
    (Message("user", "What is 17 * 23?"),), seed=1, sampling=SamplingParams(max_tokens=24)
)
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "integer", "minimum": 0, "maximum": 999}},
    "required": ["answer"],
    "additionalProperties": False,
}


def remote(served: Served, model: str, **values: object) -> "aclosing[RemoteLM]":
    card = {"name": "far", "backend": "openai", "base_urls": [served.models], "model": model}
    return aclosing(RemoteLM(OpenAICard.model_validate(card | values), api_key=KEY))


@pytest.fixture(params=["scripted", "tiny"])
def model(request: pytest.FixtureRequest) -> tuple[Served, str]:
    """A plain model: its server and its name."""
    return request.getfixturevalue(request.param), request.param


async def test_samples_do_not_depend_on_how_many_are_requested(model: tuple[Served, str]) -> None:
    async with remote(*model) as lm:
        samples = await lm.generate(replace(REQUEST, n=3))
        [last] = await lm.generate(replace(REQUEST, first_draw=2))
        # The prompt may be in the server's cache only for the second request.
        cached = samples[2].usage.cached_tokens
        assert replace(last, usage=replace(last.usage, cached_tokens=cached)) == samples[2]
        assert len({completion.text for completion in samples}) > 1
        assert all(c.usage.prompt_tokens > 0 < c.usage.completion_tokens for c in samples)


async def test_the_server_samples_n_if_the_card_says_that_it_can(
    model: tuple[Served, str],
) -> None:
    async with remote(*model, native_n=True) as lm:
        samples = await lm.generate(replace(REQUEST, n=3, first_draw=2))
        assert [completion.draw for completion in samples] == [2, 3, 4]
        assert len({completion.text for completion in samples}) > 1


async def test_a_stream_spells_the_text(model: tuple[Served, str]) -> None:
    events = list[Event]()
    async with remote(*model) as lm:
        [completion] = await lm.generate(REQUEST, events.append)
        deltas = [event.text for event in events if isinstance(event, TokenDelta)]
        assert "".join(deltas) == completion.text


async def test_log_probabilities_come_with_the_tokens_that_spell_the_text(
    model: tuple[Served, str],
) -> None:
    async with remote(*model, logprobs=True) as lm:
        [completion] = await lm.generate(replace(REQUEST, logprobs=True))
        assert completion.logprobs is not None
        assert completion.tokens is not None
        assert len(completion.logprobs) == len(completion.tokens)
        assert b"".join(completion.tokens).decode("utf-8", "replace") == completion.text


async def test_a_schema_is_followed(model: tuple[Served, str]) -> None:
    async with remote(*model, constraint="json_schema") as lm:
        form = Constraint(json_schema=SCHEMA)
        for completion in await lm.generate(replace(REQUEST, n=3, constraint=form)):
            assert json.loads(completion.text)["answer"] in range(1000)


async def test_the_last_line_of_a_judge_follows_its_constraint(model: tuple[Served, str]) -> None:
    results = results_constraint(2)
    assert results is not None
    async with remote(*model, constraint="json_schema") as lm:
        for form, last in (
            (VERDICT_CONSTRAINT, r"Verdict: (in)?correct"),
            (results, r"Tests: \[1\] (pass|fail), \[2\] (pass|fail)"),
        ):
            [completion] = await lm.generate(replace(REQUEST, constraint=form))
            if completion.finish_reason != "length":
                assert re.fullmatch(last, completion.text.rpartition("\n")[2])
            else:  # the tokens of a model that babbles ran out in its argument
                assert completion.text.startswith('{"argument": "')


async def test_an_architecture_that_selects_is_used_like_any_model(scripted: Served) -> None:
    few = replace(REQUEST, sampling=SamplingParams(max_tokens=2))
    async with remote(scripted, "self-consistency") as lm:
        [completion] = await lm.generate(REQUEST)
        [cut] = await lm.generate(few)
    assert completion.text
    assert completion.usage.completion_tokens > 24, "of all nodes"
    assert (cut.finish_reason, cut.usage.completion_tokens) == ("length", 8 * 2)
    async with remote(scripted, "self-consistency", server_sampling=True) as lm:
        [completion] = await lm.generate(few)
    assert completion.finish_reason == "stop"


async def test_an_architecture_runs_over_a_server(
    scripted: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAR_KEY", KEY)
    card = {
        "version": 1,
        "name": "far",
        "backend": "openai",
        "base_urls": [scripted.models],
        "model": "scripted",
        "api_key_env": "FAR_KEY",
    }
    path = tmp_path / "far.json"
    path.write_text(json.dumps(card))
    loader = Loader()
    architecture = loader.architecture("rank-fuse", {"solver": path, "judge": path})
    answer = await architecture.arun("What is 17 * 23?")
    for lm in loader.lms:
        await lm.aclose()
    assert answer.value is not None
    assert answer.usage.calls > 10


async def test_a_top_p_of_0_keeps_the_likeliest_token(tiny: Served) -> None:
    async with tiny.async_client() as client:
        texts = [
            (
                await client.chat.completions.create(
                    model="tiny",
                    messages=[{"role": "user", "content": "What is 17 * 23?"}],
                    max_tokens=12,
                    seed=5,
                    **sampling,
                )
            )
            .choices[0]
            .message.content
            for sampling in ({"temperature": 0}, {"temperature": 2, "top_p": 0})
        ]
    assert texts[0] == texts[1]
