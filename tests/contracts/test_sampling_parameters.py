"""Every sampling parameter is known everywhere: files, requests, servers, engine, keys, docs."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch
from engine_doubles import make_request, native_kernels

import archon
from archon.cli.bench import _SERVE_SAMPLING
from archon.engine.kernels.native import native_sample
from archon.engine.sampling.penalties import TokenHistory
from archon.engine.sampling.request import sample_key
from archon.engine.sampling.sampler import SamplingRule, sample
from archon.errors import UnsupportedError
from archon.lm.base import LM_CAPABILITIES, check_request
from archon.lm.cache_keys import request_digest
from archon.lm.local.lm import sampling_rule
from archon.lm.openai.payload import request_body
from archon.lm.scripted.heuristic import HeuristicScript
from archon.serve.fields import REQUEST
from archon.serve.requests import ChatRequest, read_chat_request
from archon.spec.common import SamplingSpec
from archon.spec.model import OMITTED_FIELDS, LocalCard, OpenAICard
from archon.types import (
    DEFAULT_SAMPLING,
    LATER_PARAMETERS,
    SAMPLER_PARAMETERS,
    SAMPLING_PARAMETERS,
    SENT_PARAMETERS,
    Message,
    Request,
    SamplingParams,
    sampling_values,
)

ROOT = Path(__file__).parents[2]
BY_TYPE: dict[type, Any] = {float: 0.5, int: 3, tuple: ("END",)}
VALUES = {name: BY_TYPE[type(one.default)] for name, one in SAMPLING_PARAMETERS.items()}
VALUES["logit_bias"] = ((3, 5.0), (40, -100.0))
"""A value of each parameter that has an effect."""
QUESTION = Request((Message("user", "What is 2 + 3?"),))
CARD = {"name": "m", "backend": "openai", "base_urls": ["http://x/v1"], "model": "m"}

each = pytest.mark.parametrize("name", SAMPLING_PARAMETERS)
each_sampler = pytest.mark.parametrize("name", SAMPLER_PARAMETERS)
each_later = pytest.mark.parametrize("name", sorted(LATER_PARAMETERS))


def only(name: str) -> SamplingParams:
    return SamplingParams(**{name: VALUES[name]})


def asked(**sampling: Any) -> Request:
    return replace(QUESTION, sampling=SamplingParams(**sampling).over(DEFAULT_SAMPLING))


def as_json(name: str) -> Any:
    return json.loads(json.dumps(SAMPLING_PARAMETERS[name].to_json(VALUES[name])))


@each
def test_the_declaration_fits_the_annotation(name: str) -> None:
    parameter = SAMPLING_PARAMETERS[name]
    kind = type(parameter.default)
    hint = tuple[str, ...] if kind is tuple else kind
    hint = tuple[tuple[int, float], ...] if parameter.is_by_token else hint
    assert get_type_hints(SamplingParams)[name] == hint | None
    assert getattr(DEFAULT_SAMPLING, name) == parameter.default
    assert parameter.has_effect(VALUES[name])
    assert parameter.has_effect(parameter.default) is not parameter.is_neutral
    assert parameter.help


@each_later
def test_a_later_parameter_changes_nothing_by_default(name: str) -> None:
    assert SAMPLING_PARAMETERS[name].is_neutral


@each
def test_files_have_it(name: str) -> None:
    parameter = SAMPLING_PARAMETERS[name]
    described = SamplingSpec.model_json_schema()["properties"][name]
    assert described["description"] == parameter.help
    bounds = {"minimum": parameter.ge, "exclusiveMinimum": parameter.gt,
              "maximum": parameter.le, "maxItems": parameter.max_length}  # fmt: skip
    given = {key: value for key, value in bounds.items() if value is not None}
    schema = described["anyOf"][0]
    if parameter.is_by_token:
        assert schema["maxProperties"] == given.pop("maxItems")
        (schema,) = schema["patternProperties"].values()
    assert {key: schema.get(key) for key in given} == given
    card = LocalCard.model_validate(
        {"name": "m", "backend": "local", "sources": [{"path": "m.gguf"}],
         "sampling": {name: as_json(name)}}
    )  # fmt: skip
    assert card.sampling is not None
    assert card.sampling.params() == only(name)
    assert SamplingSpec.model_validate(card.sampling.model_dump()) == card.sampling


@each
def test_a_file_without_it_is_dumped_as_before_it_existed(name: str) -> None:
    assert (name in SamplingSpec().model_dump()) is (name not in LATER_PARAMETERS)


@each
def test_servers_are_sent_it_where_it_changes_something(name: str) -> None:
    card = OpenAICard.model_validate(CARD)
    body = request_body(card, asked(**{name: VALUES[name]}), seed=0)
    plain = request_body(card, asked(), seed=0)
    if name in SENT_PARAMETERS:
        assert body[name] == as_json(name)
        assert (name in plain) is not SAMPLING_PARAMETERS[name].is_neutral
        omitting = OpenAICard.model_validate(CARD | {"omit": [name]})
        assert name in OMITTED_FIELDS
        assert name not in request_body(omitting, asked(**{name: VALUES[name]}), seed=0)
    else:
        assert body == plain
        assert not SAMPLING_PARAMETERS[name].is_sampler


@pytest.mark.parametrize("name", SENT_PARAMETERS)
def test_served_requests_have_it(name: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "?"}], name: as_json(name)}
    if name == "top_logprobs":
        body["logprobs"] = True
    chat = read_chat_request(json.dumps(body).encode(), is_strict=True)
    assert chat.request().sampling == only(name)
    assert name in ChatRequest.model_fields
    assert name not in REQUEST


@each_sampler
def test_a_server_names_it_where_it_refuses_another(name: str) -> None:
    assert name in REQUEST["mirostat"].advice


@each_sampler
def test_an_architecture_passes_it_to_its_generator(name: str) -> None:
    models = archon.load("single", models={"solver": "scripted"}).models
    [use] = models.uses(only(name)).values()
    assert getattr(use.sampling, name) == getattr(only(name), name)


@each
def test_samples_and_traces_depend_on_it(name: str) -> None:
    sampling = asked(**{name: VALUES[name]}).sampling
    assert sampling_values(sampling)[name] == as_json(name)
    digests = {request_digest([], "", replace(QUESTION, sampling=one))
               for one in (DEFAULT_SAMPLING, sampling)}  # fmt: skip
    assert len(digests) == 2


@each_sampler
def test_the_scripted_model_depends_on_it(name: str) -> None:
    script = HeuristicScript(0.5)
    plain = [script(asked(), draw) for draw in range(20)]
    assert [script(asked(**{name: VALUES[name]}), draw) for draw in range(20)] != plain


@each_later
def test_nothing_that_was_stored_changes_while_it_is_neutral(name: str) -> None:
    neutral = SAMPLING_PARAMETERS[name].default
    for value in (None, neutral):
        assert name not in sampling_values(replace(DEFAULT_SAMPLING, **{name: value}))
    assert name not in SamplingRule().key


def test_the_engine_has_a_rule_of_the_samplers_and_of_nothing_else() -> None:
    assert {one.name for one in fields(SamplingRule)} == {*SAMPLER_PARAMETERS}
    for one in fields(SamplingRule):
        if one.name != "temperature":
            assert one.default == SAMPLING_PARAMETERS[one.name].default


def test_the_kernels_have_the_rule_in_the_same_order() -> None:
    source = (ROOT / "archon/engine/kernels/sample.cpp").read_text()
    found = re.search(r"^struct Rule \{(.*?)^\};", source, re.MULTILINE | re.DOTALL)
    assert found is not None
    members = re.findall(r"^  (float|int32_t) (\w+);$", found[1], re.MULTILINE)
    types = {float: "float", int: "int32_t"}
    numbers = [one for one in fields(SamplingRule) if one.name != "logit_bias"]
    assert members == [(types[type(one.default)], one.name) for one in numbers]


@each_sampler
def test_the_engine_samples_by_it(name: str) -> None:
    plain = SamplingRule(temperature=1.0)
    rule = sampling_rule(only(name).over(SamplingParams(temperature=1.0)))
    assert rule == replace(plain, **{name: VALUES[name]})
    logits = [torch.randn(500, generator=torch.Generator().manual_seed(0))] * 100
    noise = [(i + 0.5) / 100 for i in range(100)]
    history = TokenHistory(range(0, 500, 2))
    for token in [*range(0, 500, 3), 6, 6, 9]:
        history.add(token)
    histories = [history] * 100
    tokens = sample(logits, [rule] * 100, noise, histories)
    assert tokens != sample(logits, [plain] * 100, noise, histories)
    assert native_sample(native_kernels(), logits, [rule] * 100, noise, histories) == tokens


@each_sampler
def test_the_noise_of_a_sample_depends_on_it(name: str) -> None:
    rule = replace(SamplingRule(0.8), **{name: VALUES[name]})
    assert f"{name}={VALUES[name]!r}" in rule.key
    keys = {sample_key(make_request((1, 2), rule=one), 0, "m") for one in (SamplingRule(0.8), rule)}
    assert len(keys) == 2


def test_the_key_of_a_rule_is_that_of_stored_samples() -> None:
    text = "SamplingRule(temperature=0.8, top_k=0, top_p=1.0, min_p=0.0)"
    assert SamplingRule(temperature=0.8).key == text


@each
def test_a_beam_search_refuses_what_it_would_have_to_ignore(name: str) -> None:
    beams = asked(**{name: VALUES[name], "beams": 2})
    if SAMPLING_PARAMETERS[name].works_with_beams:
        check_request(beams, LM_CAPABILITIES, "m")
    else:
        with pytest.raises(UnsupportedError, match=f"beam search does not support {name}"):
            check_request(beams, LM_CAPABILITIES, "m")


def test_a_bias_has_one_form() -> None:
    bias = {7: 1, 3: -2.5, 5: 0}
    forms = [bias, tuple(bias.items()), {str(token): value for token, value in bias.items()}]
    made = {SamplingParams(logit_bias=one).logit_bias for one in forms}  # type: ignore[arg-type]
    assert made == {((3, -2.5), (7, 1.0))}
    assert SamplingParams(logit_bias={}).logit_bias == ()  # type: ignore[arg-type]
    assert SamplingParams().logit_bias is None


def test_the_serve_bench_leaves_none_to_the_card() -> None:
    assert _SERVE_SAMPLING.keys() == {*SAMPLER_PARAMETERS}


@pytest.mark.parametrize("name", SENT_PARAMETERS)
@pytest.mark.parametrize("page", ["servers.md", "serving.md"])
def test_the_documentation_names_it(page: str, name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs" / "guides" / page).read_text()
