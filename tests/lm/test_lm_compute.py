"""Sizes of models from cards and names, and sums of contexts."""

from __future__ import annotations

import pytest

from archon.errors import SpecError
from archon.lm.card_compute import active_parameters, card_compute
from archon.lm.compute import AttentionLayers, DecoderCompute, attended_tokens
from archon.spec.model import OpenAICard, ScriptedCard
from archon.spec.reader import load_model_card


@pytest.mark.parametrize(
    ("name", "active"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", 7_000_000_000),
        ("qwen2.5:1.5b", 1_500_000_000),
        ("meta-llama/Llama-3.3-70B-Instruct-Turbo", 70_000_000_000),
        ("SmolLM2-135M-Instruct", 135_000_000),
        ("Qwen3-30B-A3B-Instruct-2507", 3_000_000_000),
        ("qwen3-235b-a22b", 22_000_000_000),
        ("DeepSeek-R1-Distill-Qwen-7B", 7_000_000_000),
        ("mixtral-8x7b-instruct", None),
        ("gpt-oss-20b", None),
        ("Llama-4-Scout-17B-16E", None),
        ("deepseek-v2-lite-16b", None),
        ("gpt-4o-mini", None),
        ("claude-opus-4", None),
        ("model-7b-draft-of-70b", None),
        ("llama3.1", None),
        ("gemma-4bit", None),
        ("0b", None),
    ],
)
def test_a_name_states_active_parameters_plainly_or_not_at_all(
    name: str, active: int | None
) -> None:
    assert active_parameters(name) == active


def server(**card: object) -> OpenAICard:
    fields = {"name": "remote", "backend": "openai", "base_urls": ["http://localhost:1/v1"]}
    return OpenAICard.model_validate(fields | card)


def test_the_sizes_of_a_card_come_before_those_of_the_name() -> None:
    assert card_compute(server()) is None
    assert card_compute(server(model="org/x-7b")) == DecoderCompute(7 * 10**9, is_estimate=True)
    given = {"total": 30, "active": 3, "layers": 2, "attention_width": 8}
    exact = DecoderCompute(3, 0, (AttentionLayers(2, 8),))
    assert card_compute(server(model="org/x-7b", parameters=given)) == exact
    dense = card_compute(server(parameters={"total": 30}))
    assert dense == DecoderCompute(30, is_estimate=True)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"total": 3, "active": 4}, "'active' must not be above 'total'"),
        ({"total": 3, "layers": 4}, "give both of 'layers' and 'attention_width'"),
        ({"active": 4}, "total"),
    ],
)
def test_contradictory_sizes_are_refused(parameters: dict[str, int], reason: str) -> None:
    card = {"name": "x", "backend": "scripted", "parameters": parameters}
    with pytest.raises(SpecError, match=reason):
        load_model_card(card)


def test_a_card_without_sizes_is_stored_as_before() -> None:
    card = ScriptedCard.model_validate({"name": "x", "backend": "scripted"})
    assert "parameters" not in card.model_dump(mode="json")


@pytest.mark.parametrize("window", [None, 1, 4, 9, 50])
@pytest.mark.parametrize(("first", "last"), [(1, 1), (1, 9), (3, 12), (9, 9), (5, 4)])
def test_contexts_are_summed_exactly(first: int, last: int, window: int | None) -> None:
    contexts = [min(t, window or t) for t in range(first, last + 1)]
    assert attended_tokens(first, last, window) == sum(contexts)
